"""What DALI's GPU kernel for pasting would make of boxes, on machines without a GPU."""

from __future__ import annotations

import numpy as np

BLACK = -1


def sweep(images: np.ndarray, sources: np.ndarray, sizes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The output (height, width) of boxes of images (boxes, height, width): box i shows image i, the last on top.

    sources, sizes, targets (boxes, 2): corner in the image, size, corner in the output, each (y, x). As
    `CreateSampleDescriptors` and `PasteKernel` in dali/kernels/imgproc/paste/paste_gpu.h of DALI 2.4, line by line.
    """
    boxes = [(*map(int, target), *map(int, target + size)) for target, size in zip(targets, sizes, strict=True)]
    lines = [
        sorted({0, images.shape[1 + axis], *(box[axis + end] for box in boxes for end in (0, 2))}) for axis in (0, 1)
    ]
    down, across = ({line: number for number, line in enumerate(of_axis)} for of_axis in lines)
    y_count, x_count = len(down) - 1, len(across) - 1
    y_starting = [[(BLACK, 0, x_count)] if y == 0 else [] for y in range(y_count + 1)]
    y_ending = [[(BLACK, 0, x_count)] if y == y_count else [] for y in range(y_count + 1)]
    for number, (top, left, bottom, right) in enumerate(boxes):
        y_starting[down[top]].append((number, across[left], across[right]))
        y_ending[down[bottom]].append((number, across[left], across[right]))
    starting, ending = ([set() for _ in range(x_count + 1)] for _ in range(2))
    opened: set[int] = set()
    output = np.empty(images.shape[1:], images.dtype)
    for y in range(y_count):
        for number, start, end in y_starting[y]:
            starting[start].add(number)
            ending[end].add(number)
        for x in range(x_count):
            opened |= starting[x]
            patch = np.s_[lines[0][y] : lines[0][y + 1], lines[1][x] : lines[1][x + 1]]
            output[patch] = shown(images, max(opened), patch, sources, targets)
            opened -= ending[x + 1]
        for number, start, end in y_ending[y + 1]:
            starting[start].discard(number)
            ending[end].discard(number)
    return output


def shown(images: np.ndarray, number: int, patch: tuple, sources: np.ndarray, targets: np.ndarray) -> np.ndarray | int:
    """What a patch of the output shows of a box; where that lies beyond its image, what the kernel reads is unknown."""
    if number == BLACK:
        return 0
    moved = sources[number] - targets[number]
    y, x = (np.arange(part.start, part.stop) + by for part, by in zip(patch, moved, strict=True))
    beyond = (y < 0) | (y >= images.shape[1]), (x < 0) | (x >= images.shape[2])
    values = images[number][y.clip(0, images.shape[1] - 1)[:, None], x.clip(0, images.shape[2] - 1)]
    return np.where(beyond[0][:, None] | beyond[1], BLACK, values)


def paste(images: np.ndarray, sources: np.ndarray, sizes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What is meant: one box after the other."""
    output = np.zeros(images.shape[1:], images.dtype)
    for image, source, size, target in zip(images, sources, sizes, targets, strict=True):
        (top, left), (y, x) = target, source
        output[top : top + size[0], left : left + size[1]] = image[y : y + size[0], x : x + size[1]]
    return output
