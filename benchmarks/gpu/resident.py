"""Measures batches of resized images that all lie in the device's memory: gathered, cropped, flipped, derived.

    python -m benchmarks.gpu.resident [--device auto] [--images 22000] [--batches 200] [--compile]

Plain torch, without DALI and decoding: visible images with a gray derivative, infrared ones with a spectrum, 64
captured images and 128 views a batch, normalized, bfloat16, channels_last. To be compared with `loader_rates`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.devices import add_device_option, choose_device, describe_device, seconds_of
from dali_ops.derive.channels import LUMINANCE, sample_spectrum
from dali_ops.normalize import IMAGENET
from pipeline.errors import one_line_errors

HEIGHT, WIDTH, PAD, COUNT = 288, 144, 10, 32  # COUNT captured images of each modality
WARM_UP = 10


@dataclass(frozen=True)
class Plan:
    """Rows (COUNT,) of each modality; for each of the four views top, left and flip (4, COUNT); gains (COUNT, 3)."""

    visible: torch.Tensor
    infrared: torch.Tensor
    top: torch.Tensor
    left: torch.Tensor
    flip: torch.Tensor
    gains: torch.Tensor


def plans(visible: int, infrared: int, device: torch.device) -> Iterator[Plan]:
    """Samples on the host, as the loader does."""
    generator = np.random.default_rng(0)
    while True:
        parts = [generator.integers(0, number, COUNT) for number in (visible, infrared)]
        parts += [generator.integers(0, high, (4, COUNT)) for high in (2 * PAD + 1, 2 * PAD + 1, 2)]
        parts.append(sample_spectrum(generator, COUNT))
        yield Plan(*(torch.from_numpy(part).to(device, non_blocking=True) for part in parts))


def window(images: torch.Tensor, rows: torch.Tensor, plan: Plan, view: int) -> torch.Tensor:
    """Returns (COUNT, HEIGHT, WIDTH, C) uint8: windows of padded images, black outside, mirrored as planned."""
    across = torch.arange(WIDTH, device=images.device)
    across = torch.where(plan.flip[view][:, None] == 1, WIDTH - 1 - across, across)
    y = plan.top[view][:, None] - PAD + torch.arange(HEIGHT, device=images.device)
    x = plan.left[view][:, None] - PAD + across
    inside = ((y >= 0) & (y < HEIGHT))[:, :, None, None] & ((x >= 0) & (x < WIDTH))[:, None, :, None]
    taken = images[rows[:, None, None], y.clamp(0, HEIGHT - 1)[:, :, None], x.clamp(0, WIDTH - 1)[:, None, :]]
    return taken * inside


def make_batch(visible: torch.Tensor, infrared: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Returns (4 * COUNT, 3, HEIGHT, WIDTH) bfloat16: visible, infrared, gray, spectrum."""
    constants = (IMAGENET.mean, IMAGENET.std, LUMINANCE)
    mean, std, weights = (torch.tensor(values, device=visible.device) for values in constants)
    of_visible = [window(visible, plan.visible, plan, view).float() for view in (0, 2)]
    of_infrared = [window(infrared, plan.infrared, plan, view).float() for view in (1, 3)]
    gray = of_visible[1].matmul(weights).round()[..., None]
    spectrum = (of_infrared[1] * plan.gains[:, None, None, :]).round().clamp_max(255)
    views = (of_visible[0], of_infrared[0], gray, spectrum)
    made = [((view / 255 - mean) / std).to(torch.bfloat16) for view in views]
    return torch.cat(made).permute(0, 3, 1, 2)


def show(name: str, make: Callable[[], torch.Tensor], device: torch.device, batches: int) -> None:
    images = make()
    assert images.shape == (4 * COUNT, 3, HEIGHT, WIDTH) and images.is_contiguous(memory_format=torch.channels_last)
    seconds = seconds_of(make, device, batches, WARM_UP)
    print(f"{name}: {1000 * seconds:.2f} ms a batch, {2 * COUNT / seconds:.0f} captured images/s", flush=True)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.resident", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--images", type=int, default=22_000, help="visible ones; half as many infrared")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--compile", action="store_true", help="compiled as well")
    options = parser.parse_args(argv)
    device = choose_device(options.device)
    size = {"dtype": torch.uint8, "device": device}
    visible = torch.randint(0, 256, (options.images, HEIGHT, WIDTH, 3), **size)
    infrared = torch.randint(0, 256, (options.images // 2, HEIGHT, WIDTH, 1), **size)
    print(f"{(visible.numel() + infrared.numel()) / 1e9:.2f} GB of images; {describe_device(device, 'bfloat16')}")
    source = plans(len(visible), len(infrared), device)
    show("eager", lambda: make_batch(visible, infrared, next(source)), device, options.batches)
    if options.compile:
        compiled, begin = torch.compile(make_batch), time.perf_counter()
        compiled(visible, infrared, next(source))
        print(f"compiling took {time.perf_counter() - begin:.0f} s")
        show("compiled", lambda: compiled(visible, infrared, next(source)), device, options.batches)


if __name__ == "__main__":
    main()
