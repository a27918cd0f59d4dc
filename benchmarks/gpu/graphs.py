"""Compares a DALI graph on the device with the same graph on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from nvidia.dali import fn, types
from nvidia.dali.data_node import DataNode

from dali_ops.execution import build, new_pipeline

HEIGHT, WIDTH, COUNT = 288, 144, 32
KINDS = {np.dtype("uint8"): types.UINT8, np.dtype("float32"): types.FLOAT, np.dtype("int32"): types.INT32}
CPU = torch.device("cpu")

Graph = Callable[..., DataNode]  # (the image on the device, what else it is fed) -> image
Batch = np.ndarray | list[np.ndarray]  # of images or numbers, by image


@dataclass(frozen=True)
class Allowed:
    """The share of the values that may differ, and by how many levels of 255."""

    share: float = 0.0
    levels: int = 0


EXACT, ROUNDED = Allowed(), Allowed(0.02, 1)


def compare(graph: Graph, device: torch.device, *fed: Batch, allowed: Allowed = EXACT) -> tuple[bool, str]:
    """Runs a graph over images (n, height, width, channels) uint8 and other inputs on the device and on the CPU."""
    return same_images(run(graph, device, *fed), run(graph, CPU, *fed), allowed)


def same_images(made: list[np.ndarray], expected: list[np.ndarray], allowed: Allowed) -> tuple[bool, str]:
    """Returns whether images are those of the CPU, and by how much they differ."""
    for one, other in zip(made, expected, strict=True):
        if one.shape != other.shape:
            return False, f"shape {one.shape}, on the CPU {other.shape}"
    difference = np.concatenate([np.abs(a.astype(int) - b).ravel() for a, b in zip(made, expected, strict=True)])
    share, worst = float((difference > 0).mean()), int(difference.max())
    right = share <= allowed.share and worst <= allowed.levels
    return right, f"values that differ {share:.4%}, worst {worst} levels"


def run(graph: Graph, device: torch.device, *fed: Batch) -> list[np.ndarray]:
    """Returns the images of a graph's second run: the first may find memory that happens to be zero."""
    on_gpu = device.type == "cuda"
    pipeline = new_pipeline(
        batch_size=len(fed[0]),
        device="gpu" if on_gpu else "cpu",
        device_id=device.index,
        decode="cpu",
        threads=4,
        prefetch=2,
    )
    with pipeline:
        images, *numbers = map(source_of, fed)
        if on_gpu and images_of_pixels(fed[0]):
            images = images.gpu()
        pipeline.set_outputs(graph(images, *numbers))
    build(pipeline)
    for _ in range(2):
        (output,) = pipeline.run()
    return [np.array(image) for image in output.as_cpu()]


def images_of_pixels(batch: Batch) -> bool:
    """Returns whether these are images, and not encoded files or numbers."""
    return batch[0].dtype == np.uint8 and batch[0].ndim == 3


def source_of(batch: Batch) -> DataNode:
    layout = "HWC" if images_of_pixels(batch) else None
    return fn.external_source(lambda: batch, dtype=KINDS[batch[0].dtype], ndim=batch[0].ndim, layout=layout)


def images(channels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Samples (COUNT, height, width, channels) uint8: half noise, half slopes with little of it, the first flat."""
    generator = np.random.default_rng(channels)
    noise = generator.integers(0, 256, (COUNT, height, width, channels), dtype=np.uint8)
    slope = np.linspace(0, 255, height * width * channels).reshape(height, width, channels)
    noise[COUNT // 2 :] = 0.2 * noise[COUNT // 2 :] + 0.7 * slope
    noise[0] = 77
    return noise
