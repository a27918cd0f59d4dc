"""Small images in many formats, and runs of the graphs over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nvidia.dali import fn, types
from PIL import Image

from dali_ops import geometry
from dali_ops.decode import PATH, decode, path_bytes
from dali_ops.execution import new_pipeline

FORMATS = (("jpg", {"quality": 95}), ("jpg", {"quality": 80, "progressive": True}), ("png", {}), ("bmp", {}))


def places() -> list:
    """(device, decode) to run the graphs at; those on a GPU skip where there is none."""
    needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    return [
        pytest.param(("cpu", "cpu"), id="cpu"),
        pytest.param(("gpu", "cpu"), id="gpu-decode-cpu", marks=needs_gpu),
        pytest.param(("gpu", "mixed"), id="gpu-decode-mixed", marks=needs_gpu),
    ]


@pytest.fixture(params=places())
def place(request) -> dict:
    device, decode_place = request.param
    return {"device": device, "device_id": 0 if device == "gpu" else None, "decode": decode_place}


@pytest.fixture(scope="session")
def visible_files(tmp_path_factory) -> list[Path]:
    return _write_images(tmp_path_factory.mktemp("visible"), channels=3)


@pytest.fixture(scope="session")
def infrared_files(tmp_path_factory) -> list[Path]:
    """Half of them with one channel (among them an 8-bit gray BMP), half with three equal ones."""
    folder = tmp_path_factory.mktemp("infrared")
    return _write_images(folder, channels=1) + _write_images(folder, channels=3, equal=True)


def _write_images(folder: Path, *, channels: int, equal: bool = False) -> list[Path]:
    generator = np.random.default_rng(channels + equal)
    paths = []
    for number, (extension, options) in enumerate(FORMATS):
        height, width = int(generator.integers(30, 120)), int(generator.integers(20, 60))
        # A smooth pattern with full contrast, so that JPEG and resizing are tested on what images are like.
        coarse = generator.integers(0, 256, (6, 4, 1 if equal else channels), dtype=np.uint8)
        layers = [Image.fromarray(coarse[:, :, c]).resize((width, height)) for c in range(coarse.shape[2])]
        pixels = np.stack([np.asarray(layer) for layer in layers], axis=2)
        pixels = np.repeat(pixels, 3, axis=2) if equal else pixels
        path = folder / f"{channels}_{number} ä.{extension}"
        Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]).save(path, **options)
        paths.append(path)
    return paths


@pytest.fixture(scope="session")
def decode_and_resize():
    """Runs only decoding and resizing: what the twin of everything that follows starts from."""

    def run(paths, base, size, place, interpolation="bilinear") -> list[np.ndarray]:
        pipeline = new_pipeline(batch_size=len(paths), threads=1, prefetch=1, **place)
        where = {"device": place["device"], "decode": place["decode"]}
        with pipeline:
            names = fn.external_source(lambda: [path_bytes(path) for path in paths], dtype=types.UINT8, ndim=1)
            images = decode(names, form=PATH, base=base, **where)
            if size:
                images = geometry.resize(images, height=size[0], width=size[1], interpolation=interpolation)
            pipeline.set_outputs(images)
        (images,) = pipeline.run()
        return [np.asarray(image) for image in images.as_cpu()]

    return run


# Share of the pixels that may be a level off on the CPU, where the other derivations are exact: sums of floats that end
# halfway between two levels are rounded either way. STEEP ones may make several levels of one that was off before.
ROUNDED = {"weighted_gray": 0.001, "equalize": 0.001, "sharpness": 0.001, "clahe": 0.02}
ROUNDED |= {
    "saturation": 0.001,
    "hue": 0.001,
    "brightness": 0.001,
    "contrast": 0.001,
    "channel_gains": 0.001,
    "spectrum": 0.001,
}
ROUNDED_ON_GPU = {"clahe": 0.1}  # halves go up there, which small tiles are full of; of the others two in a hundred
STEEP = {"gamma", "gamma_gray", "equalize", "clahe", "sharpness", "spectrum", "pseudo_color"}
STEEP |= {"brightness", "contrast", "saturation", "hue"}


@pytest.fixture
def assert_same_levels(place):
    """Checks differences in levels of 255 after the derivations named; on the GPU gray is rounded from floats too."""

    def check(difference: np.ndarray, *derivations: str, tolerance: float = 0.0) -> None:
        on_gpu = place["device"] == "gpu"
        allowed = sum(ROUNDED.get(name, 0.0) for name in derivations)
        if on_gpu:
            allowed = max(0.02, *(ROUNDED_ON_GPU.get(name, 0.0) for name in derivations), allowed)
        assert (difference > tolerance).mean() <= allowed
        if not STEEP.intersection(derivations if on_gpu else derivations[1:]):
            assert difference.max() <= 1 + tolerance

    return check
