from __future__ import annotations

import os

import pytest

from dali_ops.check import first_undecodable, undecodable


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


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_bad_file_is_found_among_good_ones_whatever_the_batch(batch_size, tmp_path, visible_files):
    bad = list(bad_files(tmp_path, visible_files[0].read_bytes()).values())
    mixed = [path for pair in zip(visible_files * 2, bad, strict=False) for path in pair]
    done = []
    found = list(undecodable(mixed, "visible", threads=2, batch_size=batch_size, advance=done.append))
    assert [path for path, _ in found] == [os.fspath(path) for path in mixed if path in bad]
    assert len(found) == len(bad) and sum(done) == len(mixed)
    reasons = dict(found)
    for path in bad:
        assert reasons[os.fspath(path)] == first_undecodable([path], "visible")[1]
