from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dali_ops import reference
from dali_ops.decode import path_bytes

CPU = {"device": "cpu", "device_id": None, "decode": "cpu"}


@pytest.mark.parametrize("family", ["visible", "infrared"])
def test_close_to_pil(family, visible_files, infrared_files, decode_and_resize):
    paths = visible_files + infrared_files
    for image, path in zip(decode_and_resize(paths, family, None, CPU), paths, strict=True):
        expected = reference.decode(path, family)
        assert image.shape == expected.shape
        # Lossless formats and grey pictures are exact; the grey of a colour picture differs by rounding.
        exact = path.suffix != ".jpg" and (family == "visible" or path in infrared_files)
        assert np.abs(image.astype(int) - expected).max() <= (0 if exact else 2)


def test_orientation_tag_is_ignored(tmp_path, decode_and_resize):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 40), (200, 30, 30)).save(path, exif=exif)
    (image,) = decode_and_resize([path], "visible", None, CPU)
    assert image.shape == (40, 20, 3)


def test_path_bytes_are_utf8():
    assert path_bytes("a/ä.jpg").tobytes() == "a/ä.jpg".encode()
    assert path_bytes("a/ä.jpg").dtype == np.uint8
