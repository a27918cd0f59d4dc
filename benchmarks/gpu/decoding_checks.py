"""Checks that each place of decoding gives the CPU's images, and raises for files that are no images."""

from __future__ import annotations

import io
from functools import partial

import numpy as np
import torch
from nvidia.dali.data_node import DataNode
from PIL import Image

from benchmarks.gpu.checks import Check
from benchmarks.gpu.graphs import CPU, EXACT, Allowed, Graph, run, same_images
from dali_ops.decode import BASES, ENCODED, decode

COUNT = 8
# nvJPEG rounds on its own; all else it leaves to the CPU
JPEG_ALLOWED = Allowed(1.0, 4)


def decoding_checks(device: torch.device) -> dict[str, Check]:
    checks: dict[str, Check] = {}
    for place in ("mixed", "cpu") if device.type == "cuda" else ("cpu",):
        for base in BASES:
            for name, content in files().items():
                allowed = JPEG_ALLOWED if place == "mixed" and "jpeg" in name else EXACT
                checks[f"decode {place}, {name}, {base}"] = partial(
                    decoded_alike, device, place, base, content, allowed
                )
        for name, content in broken_files().items():
            # nvJPEG may take a file that was cut short for an image: shown, not checked
            checked = place == "cpu" or name == "not an image"
            checks[f"decode {place}, {name}"] = partial(raises_for, device, place, content, checked)
    return checks


def files() -> dict[str, np.ndarray]:
    """Writes one image in the formats that data sets come in."""
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "jpeg 4:2:0": encoded("JPEG", quality=90),
        "jpeg 4:4:4": encoded("JPEG", quality=95, subsampling=0),
        "jpeg progressive": encoded("JPEG", quality=80, progressive=True),
        "jpeg gray": encoded("JPEG", mode="L"),
        "jpeg turned by EXIF": encoded("JPEG", exif=turned),
        "jpeg CMYK": encoded("JPEG", mode="CMYK"),
        "png": encoded("PNG"),
        "png turned by EXIF": encoded("PNG", exif=turned),
        "bmp": encoded("BMP"),
        "bmp palette": encoded("BMP", mode="P"),
    }


def broken_files() -> dict[str, np.ndarray]:
    whole = encoded("JPEG", quality=90)
    return {"cut in half": whole[: len(whole) // 2], "not an image": np.frombuffer(b"<html>404</html>", np.uint8)}


def encoded(kind: str, mode: str = "RGB", **options) -> np.ndarray:
    """Returns the bytes of a file of 128x384 with waves of its own in each channel."""
    y, x = np.mgrid[0:384, 0:128]
    waves = ((1, 0.3, 9), (0.6, 0.2, 15), (1.3, 0.1, 5))
    planes = [(x * across + y * down + 60 * np.sin(x / length)) % 256 for across, down, length in waves]
    stream = io.BytesIO()
    Image.fromarray(np.stack(planes, 2).astype(np.uint8)).convert(mode).save(stream, kind, **options)
    return np.frombuffer(stream.getvalue(), np.uint8)


def decoder(device: torch.device, place: str, base: str) -> Graph:
    def graph(fed: DataNode) -> DataNode:
        where = "gpu" if device.type == "cuda" else "cpu"
        return decode(fed, form=ENCODED, base=base, device=where, decode=place)

    return graph


def decoded_alike(
    device: torch.device, place: str, base: str, content: np.ndarray, allowed: Allowed
) -> tuple[bool, str]:
    made = run(decoder(device, place, base), device, [content] * COUNT)
    return same_images(made, run(decoder(CPU, "cpu", base), CPU, [content] * COUNT), allowed)


def raises_for(device: torch.device, place: str, content: np.ndarray, checked: bool) -> tuple[bool, str]:
    """Checks that a file that is no image, among good ones, is an error, or isn't checked at all."""
    good = encoded("JPEG", quality=90)
    try:
        made = run(decoder(device, place, "visible"), device, [good] * (COUNT - 1) + [content])
    except RuntimeError as error:
        return True, f"RuntimeError: {' '.join(str(error).split())[:120]}"
    return not checked, f"was decoded without an error, as {made[-1].shape}"
