from __future__ import annotations

import numpy as np
import pytest

from dali_ops.check import DecodingCheck

UNKNOWN = "not a picture in a format that DALI decodes, or its header is damaged"
CUT = "the picture is damaged or cut short"


def encoded(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


@pytest.fixture
def good(visible_files) -> list[np.ndarray]:
    return [encoded(path.read_bytes()) for path in visible_files]


def bad_pictures(good: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    return {
        "empty": (good[:0], "the file is empty"),
        "page": (encoded(b"<html>404</html>"), UNKNOWN),
        "zeros": (np.zeros(500, np.uint8), UNKNOWN),
        "start": (good[:2], UNKNOWN),
        "header": (good[:30], UNKNOWN),
        "half": (good[: len(good) // 2], CUT),
    }


@pytest.mark.parametrize("family", ["visible", "infrared"])
def test_good_pictures_have_no_reason(family, visible_files, infrared_files):
    pictures = [encoded(path.read_bytes()) for path in visible_files + infrared_files]
    assert DecodingCheck(family, batch_size=len(pictures), threads=2).reasons(pictures) == [None] * len(pictures)


@pytest.mark.parametrize("name", ["empty", "page", "zeros", "start", "header", "half"])
def test_a_bad_picture_alone_has_its_reason(name, good):
    picture, reason = bad_pictures(good[0])[name]
    assert DecodingCheck("visible").reasons([picture]) == [reason]


def test_bad_pictures_are_found_among_good_ones_batch_after_batch(good):
    check = DecodingCheck("visible", batch_size=4, threads=2)
    for picture, reason in bad_pictures(good[0]).values():
        assert check.reasons([good[0], picture, good[1], picture]) == [None, reason, None, reason]
        assert check.reasons(good[:3]) == [None] * 3


def test_an_unknown_family_is_refused():
    with pytest.raises(ValueError, match="family: expected one of visible, infrared; found 'x'"):
        DecodingCheck("x")
