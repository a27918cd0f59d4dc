from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dali_ops import reference
from dali_ops.decode import path_bytes

CPU = {"device": "cpu", "device_id": None, "decode": "cpu"}


@pytest.mark.parametrize("base", ["visible", "infrared"])
def test_close_to_pil(base, visible_files, infrared_files, decode_and_resize):
    paths = visible_files + infrared_files
    for image, path in zip(decode_and_resize(paths, base, None, CPU), paths, strict=True):
        expected = reference.decode(path, base)
        assert image.shape == expected.shape
        # Lossless formats and gray images are exact; the gray of a color image differs by rounding.
        exact = path.suffix != ".jpg" and (base == "visible" or path in infrared_files)
        assert np.abs(image.astype(int) - expected).max() <= (0 if exact else 2)


def make_image() -> Image.Image:
    levels = np.random.default_rng(0).integers(0, 256, (8, 5, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((20, 32))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_are_turned_as_a_viewer_shows_them(orientation, suffix, tmp_path, decode_and_resize):
    path = tmp_path / f"turned.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    make_image().save(path, exif=exif)
    (image,) = decode_and_resize([path], "visible", None, CPU)
    assert image.shape[:2] == ((32, 20) if orientation < 5 else (20, 32))
    np.testing.assert_array_equal(image, reference.decode(path, "visible"))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("CMYK", "cmyk.jpg"),
        ("P", "palette.png"),
        ("P", "palette.bmp"),
        ("1", "bits.png"),
        ("L", "gray.png"),
        ("LA", "transparent_grey.png"),
        ("RGBA", "transparent.png"),
        ("RGB", "one_pixel.jpg"),
        ("RGB", "wide.jpg"),
    ],
)
def test_unusual_images_are_what_pil_says(mode, name, tmp_path, decode_and_resize):
    size = {"one_pixel.jpg": (1, 1), "wide.jpg": (20000, 16)}.get(name, (20, 32))
    make_image().resize(size).convert(mode).save(tmp_path / name)
    (visible,) = decode_and_resize([tmp_path / name], "visible", None, CPU)
    np.testing.assert_array_equal(visible, reference.decode(tmp_path / name, "visible"))
    (infrared,) = decode_and_resize([tmp_path / name], "infrared", None, CPU)
    assert np.abs(infrared.astype(int) - reference.decode(tmp_path / name, "infrared")).max() <= 2


def test_sixteen_bits_are_read_as_their_upper_eight(tmp_path, decode_and_resize):
    levels = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    (image,) = decode_and_resize([tmp_path / "deep.png"], "infrared", None, CPU)
    assert np.abs(image[:, :, 0] - levels / 257).max() <= 1


def test_path_bytes_are_utf8():
    assert path_bytes("a/ä.jpg").tobytes() == "a/ä.jpg".encode()
    assert path_bytes("a/ä.jpg").dtype == np.uint8
