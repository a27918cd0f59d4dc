from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from dali_ops import reference
from dali_ops.decode import first_undecodable, path_bytes

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


@pytest.mark.parametrize("family", ["visible", "infrared"])
def test_all_decodable(family, visible_files, infrared_files):
    assert first_undecodable(visible_files + infrared_files, family) is None
    assert first_undecodable([], family) is None


def bad_files(folder, good: bytes) -> dict:
    contents = {"empty.jpg": b"", "page.jpg": b"<html>404</html>", "zeros.png": bytes(500), "start.jpg": good[:2]}
    contents |= {"half.jpg": good[: len(good) // 2], "header.jpg": good[:30]}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    return {name: folder / name for name in (*contents, "folder.jpg", "missing.jpg")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.jpg", "the file is empty"),
        ("missing.jpg", "the file does not exist"),
        ("folder.jpg", "not a file"),
        ("page.jpg", "not a picture in a format that DALI decodes, or its header is damaged"),
        ("zeros.png", "not a picture in a format that DALI decodes, or its header is damaged"),
        ("start.jpg", "not a picture in a format that DALI decodes, or its header is damaged"),
        ("header.jpg", "not a picture in a format that DALI decodes, or its header is damaged"),
        ("half.jpg", "the picture is damaged or cut short"),
    ],
)
def test_first_undecodable_names_the_file(name, reason, tmp_path, visible_files):
    bad = bad_files(tmp_path, visible_files[0].read_bytes())
    found = first_undecodable([*visible_files, bad[name], bad["missing.jpg"], bad["page.jpg"]], "visible")
    assert found == (os.fspath(bad[name]), reason)


def test_first_undecodable_unknown_family():
    with pytest.raises(ValueError, match="family: expected one of visible, infrared; found 'x'"):
        first_undecodable([], "x")
