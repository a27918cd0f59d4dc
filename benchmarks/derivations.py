"""Every derivation on the CPU: processor time an image, and the worst deviation from its NumPy twin.

    python -m benchmarks.derivations [--images 64] [--batches 20]

Images of 288 x 144 with noise, gradients and few levels. Deviations are in levels of 255.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
from nvidia.dali import Pipeline, fn, types

from dali_ops.derive import DERIVATIONS, Derivation
from dali_ops.execution import build, new_pipeline
from dali_ops.reference.derive import derive

HEIGHT, WIDTH = 288, 144


def images_of(count: int, channels: int) -> np.ndarray:
    """(count, HEIGHT, WIDTH, channels) uint8: a third noise, a third gradients with noise, a third of few levels."""
    generator = np.random.default_rng(channels)
    noise = generator.integers(0, 256, (count, HEIGHT, WIDTH, channels), dtype=np.uint8)
    slope = np.linspace(0, 255, HEIGHT * WIDTH * channels).reshape(HEIGHT, WIDTH, channels)
    third = count // 3
    noise[third : 2 * third] = 0.2 * noise[third : 2 * third] + 0.7 * slope
    noise[2 * third :] = noise[2 * third :] // 60 * 60
    return noise


def pipeline_of(derivation: Derivation, images: np.ndarray, numbers: np.ndarray) -> Pipeline:
    pipeline = new_pipeline(batch_size=len(images), device="cpu", device_id=None, decode="cpu", threads=1, prefetch=1)
    with pipeline:
        image = fn.external_source(lambda: images, dtype=types.UINT8, layout="HWC", no_copy=True)
        parameters = fn.external_source(lambda: numbers, dtype=types.FLOAT, ndim=1)
        pipeline.set_outputs(derivation.graph(image, parameters))
    build(pipeline)
    return pipeline


def measure(derivation: Derivation, channels: int, count: int, batches: int) -> tuple[float, int, float]:
    """Microseconds an image; largest deviation; share of the values that deviate."""
    images = images_of(count, channels)
    numbers = derivation.draw(np.random.default_rng(0), count)
    pipeline = pipeline_of(derivation, images, numbers)
    (output,) = pipeline.run()
    made = np.stack([np.array(image) for image in output])
    expected = np.stack([derive(*pair) for pair in zip(images, [derivation.name] * count, numbers, strict=True)])
    difference = np.abs(made.astype(int) - expected)
    seconds = []
    for _ in range(batches):
        begin = time.process_time()
        pipeline.run()
        seconds.append(time.process_time() - begin)
    return median(seconds) / count * 1e6, int(difference.max()), float((difference > 0).mean())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.derivations", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args(argv)
    print("| derivation | channels | us an image | worst deviation | values that deviate |\n|---|---|---|---|---|")
    for name, derivation in DERIVATIONS.items():
        for channels in (1, 3) if derivation.takes is None else (derivation.takes,):
            time_, worst, share = measure(derivation, channels, options.images, options.batches)
            print(f"| {name} | {channels} | {time_:.0f} | {worst} | {share:.4%} |", flush=True)


if __name__ == "__main__":
    main()
