"""Every derivation: time an image, and the worst deviation from its NumPy twin.

    python -m benchmarks.derivations [--device auto] [--images 64] [--batches 20]

Images of 288 x 144 with noise, gradients and few levels. Deviations are in levels of 255. On the CPU the time is that
of one core; on a GPU it is the clock's, the way of the images to the GPU included (`identity` shows that way alone).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from nvidia.dali import Pipeline, fn, types

from benchmarks.devices import add_device_option, choose_device, describe_device
from dali_ops.derive import DERIVATIONS, Derivation
from dali_ops.execution import build, new_pipeline
from dali_ops.reference.derive import derive
from pipeline.errors import one_line_errors

HEIGHT, WIDTH = 288, 144
CLOCKS = {"cpu": time.process_time, "cuda": time.perf_counter}


def images_of(count: int, channels: int) -> np.ndarray:
    """Returns (count, HEIGHT, WIDTH, channels) uint8: thirds of noise, gradients with noise, and few levels."""
    generator = np.random.default_rng(channels)
    noise = generator.integers(0, 256, (count, HEIGHT, WIDTH, channels), dtype=np.uint8)
    slope = np.linspace(0, 255, HEIGHT * WIDTH * channels).reshape(HEIGHT, WIDTH, channels)
    third = count // 3
    noise[third : 2 * third] = 0.2 * noise[third : 2 * third] + 0.7 * slope
    noise[2 * third :] = noise[2 * third :] // 60 * 60
    return noise


def pipeline_of(derivation: Derivation, images: np.ndarray, numbers: np.ndarray, device: torch.device) -> Pipeline:
    place = {"device": "cpu", "device_id": None}
    if device.type == "cuda":
        place = {"device": "gpu", "device_id": device.index}
    pipeline = new_pipeline(batch_size=len(images), decode="cpu", threads=1, prefetch=1, **place)
    with pipeline:
        image = fn.external_source(lambda: images, dtype=types.UINT8, layout="HWC", no_copy=True)
        image = image.gpu() if device.type == "cuda" else image
        parameters = fn.external_source(lambda: numbers, dtype=types.FLOAT, ndim=1)
        pipeline.set_outputs(derivation.graph(image, parameters))
    build(pipeline)
    return pipeline


def seconds_of_batches(pipeline: Pipeline, batches: int, clock: Callable[[], float]) -> list[float]:
    seconds = []
    for _ in range(batches):
        begin = clock()
        pipeline.run()  # without a stream of the caller's it waits for the GPU
        seconds.append(clock() - begin)
    return seconds


def measure(
    derivation: Derivation, channels: int, count: int, batches: int, device: torch.device
) -> tuple[float, int, float]:
    """Microseconds an image; largest deviation; share of the values that deviate."""
    images = images_of(count, channels)
    numbers = derivation.sample(np.random.default_rng(0), count)
    pipeline = pipeline_of(derivation, images, numbers, device)
    (output,) = pipeline.run()
    made = np.stack([np.array(image) for image in output.as_cpu()])
    expected = np.stack([derive(*pair) for pair in zip(images, [derivation.name] * count, numbers, strict=True)])
    difference = np.abs(made.astype(int) - expected)
    seconds = seconds_of_batches(pipeline, batches, CLOCKS[device.type])
    return median(seconds) / count * 1e6, int(difference.max()), float((difference > 0).mean())


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.derivations", description=__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args(argv)
    device = choose_device(options.device)
    where = describe_device(device, "uint8") if device.type == "cuda" else "one core of the CPU, uint8"
    print(f"{where}, {HEIGHT}x{WIDTH}, batches of {options.images}\n")
    print("| derivation | channels | us an image | worst deviation | values that deviate |\n|---|---|---|---|---|")
    for name, derivation in DERIVATIONS.items():
        for channels in (1, 3) if derivation.takes is None else (derivation.takes,):
            time_, worst, share = measure(derivation, channels, options.images, options.batches, device)
            print(f"| {name} | {channels} | {time_:.0f} | {worst} | {share:.4%} |", flush=True)


if __name__ == "__main__":
    main()
