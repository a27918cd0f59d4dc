"""Checks that each DALI operator in use gives on a GPU the images that it gives on the CPU."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from nvidia.dali import types
from nvidia.dali.data_node import DataNode

from benchmarks.gpu.checks import Check
from benchmarks.gpu.graphs import COUNT, HEIGHT, ROUNDED, WIDTH, Allowed, compare, images
from dali_ops import parameters as layout
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage, apply_stages
from dali_ops.erasing import erase
from dali_ops.geometry import INTERPOLATIONS, crop, flip, resize, windows
from dali_ops.mixing import MIXINGS, Mixing
from dali_ops.normalize import IMAGENET, mix_channels

SIZE = {"height": HEIGHT, "width": WIDTH}
PAD = 10
# Levels by which a value may be off where a level before it was: steep curves make several of one.
STEEP = {"clahe": 3, "sharpness": 2, "pseudo_color": 2, "gamma_gray": 6, "equalize": 2}
CLAHE_SIZES = ((32, 24), (48, 24), (64, 32), (256, 128), (288, 144))  # that its tiles divide
# halves go up on a GPU, which small tiles are full of
CLAHE_ALLOWED = Allowed(0.1, 1)


def geometry_checks(device: torch.device) -> dict[str, Check]:
    """Crops and boxes move values and change none; resizing rounds on its own."""
    generator = np.random.default_rng(0)
    numbers = np.zeros((COUNT, 1, layout.width(0)), np.float32)
    numbers[:, :, layout.CROP] = generator.integers(0, 2 * PAD + 1, (COUNT, 1, 2))
    numbers[:, :, layout.FLIP] = generator.integers(0, 2, (COUNT, 1))
    window = windows(numbers, HEIGHT, WIDTH, PAD)
    boxes = np.zeros((COUNT, layout.width(0)), np.float32)
    boxes[:, layout.ERASING] = [30, 20, 90, 60]
    boxes[::2, layout.ERASING_SHAPE] = 0  # nothing is erased
    checks: dict[str, Check] = {
        f"crop and flip, {channels} channels, on {fill}": partial(
            compare, partial(crop_and_flip, channels=channels, fill=fill), device, images(channels), window
        )
        for channels in (1, 3)
        for fill in (0, 127)
    }
    checks["erase"] = partial(compare, partial(erase, color=IMAGENET.color_of((0, 0, 0))), device, images(3), boxes)
    for interpolation in INTERPOLATIONS:
        graph = partial(resize, **SIZE, interpolation=interpolation)
        larger = images(3, 384, 128)
        checks[f"resize 384x128, {interpolation}"] = partial(compare, graph, device, larger, allowed=Allowed(0.05, 1))
    return checks


def crop_and_flip(images: DataNode, window: DataNode, channels: int, fill: int) -> DataNode:
    return flip(crop(images, channels, window, 0, **SIZE, fill=fill), window, 0)


def covering_checks(device: torch.device) -> dict[str, Check]:
    """Boxes that cover part of an image, or nothing: a GPU may not take an empty box for the whole."""
    numbers = np.zeros((COUNT, layout.width(1)), np.float32)
    numbers[::2, layout.applied(0)] = 1
    checks: dict[str, Check] = {
        "a stage left out by chance": partial(compare, half_inverted, device, images(3), numbers)
    }
    half = (np.arange(COUNT) % 2)[:, None].astype(np.float32)
    for name, mixing in MIXINGS.items():
        sampled = mixing.sample(np.random.default_rng(3), COUNT, HEIGHT, WIDTH)
        for which, values in (("mixed", sampled), ("half of them mixed", sampled * half)):
            checks[f"{name}, {which}"] = partial(compare, partial(mixed, mixing), device, images(3), values)
    return checks


def half_inverted(images: DataNode, numbers: DataNode) -> DataNode:
    return apply_stages(images, 3, [Stage(DERIVATIONS["inversion"], 0.5)], numbers, **SIZE)[0]


def mixed(mixing: Mixing, images: DataNode, numbers: DataNode) -> DataNode:
    return mixing.graph(types.Constant(255, dtype=types.UINT8) - images, images, numbers, **SIZE)


def compare_mixing(device: torch.device) -> tuple[bool, str]:
    """Whether channels of normalized images are mixed alike on the device and the CPU, in float32."""
    generator = np.random.default_rng(4)
    linear = [derivation for derivation in DERIVATIONS.values() if derivation.matrices]
    matrices = np.concatenate([it.matrices(it.sample(generator, COUNT)) for it in linear]).astype(np.float32)
    normalized = torch.from_numpy(generator.standard_normal((len(matrices), 3, HEIGHT, WIDTH), np.float32))
    one = normalized.contiguous(memory_format=torch.channels_last)
    other = one.to(device, copy=True)
    mix_channels(one, matrices)
    mix_channels(other, matrices)
    apart = (one - other.cpu()).abs().max().item()
    return apart < 1e-5, f"largest difference {apart:.1e}"


def derivation_checks(device: torch.device) -> dict[str, Check]:
    checks: dict[str, Check] = {"channels of normalized images": partial(compare_mixing, device)}
    for name, derivation in DERIVATIONS.items():
        numbers = derivation.sample(np.random.default_rng(1), COUNT)
        allowed = Allowed(ROUNDED.share, STEEP.get(name, ROUNDED.levels))
        for channels in (1, 3) if derivation.takes is None else (derivation.takes,):
            checks[f"derive {name}, {channels} channels"] = partial(
                compare, derivation.graph, device, images(channels), numbers, allowed=allowed
            )
    numbers = np.zeros((COUNT, 3), np.float32)
    for height, width in CLAHE_SIZES:
        checks[f"clahe {height}x{width}"] = partial(
            compare, DERIVATIONS["clahe"].graph, device, images(1, height, width), numbers, allowed=CLAHE_ALLOWED
        )
    return checks
