from __future__ import annotations

import numpy as np
import pytest
import torch

from dali_ops.check import DecodingCheck, is_of_a_picture
from dali_ops.decode import path_bytes
from dali_ops.eval_graph import evaluation_pipeline

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


def error_of(feed: list[np.ndarray], form: str) -> RuntimeError:
    """Of the graph that reads and decodes pictures."""
    place = {"device": "cpu", "device_id": None, "decode": "cpu", "threads": 1, "prefetch": 1}
    pipeline = evaluation_pipeline(
        lambda i: feed, batch_size=len(feed), form=form, family="visible", stages=(), height=8, width=8, **place
    )
    with pytest.raises(RuntimeError) as raised:
        pipeline.run()
    return raised.value


@pytest.mark.parametrize("name", ["empty", "page", "zeros", "start", "header", "half", "missing", "folder"])
def test_what_dali_says_of_a_bad_picture_is_known_as_such(name, good, visible_files, tmp_path):
    path = tmp_path / "folder" / "bad.jpg"
    path.parent.mkdir()
    if name not in ("missing", "folder"):
        picture, _ = bad_pictures(good[0])[name]
        path.write_bytes(picture.tobytes())
        if len(picture):
            assert is_of_a_picture(error_of([good[0], picture], "encoded"))
    path = path.parent if name == "folder" else path
    assert is_of_a_picture(error_of([path_bytes(visible_files[0]), path_bytes(path)], "path"))


OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
CUDA_OF_DALI = """Critical error in pipeline:
Error in mixed operator `nvidia.dali.fn.decoders.image`,
which was used in the pipeline definition with the following traceback:

  File "dali_ops/decode.py", line 36, in decode
    images = fn.decoders.image(  # Failed to decode sample

encountered:

CUDA runtime API error cudaErrorMemoryAllocation (2):
out of memory
Current pipeline object is no longer valid."""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OUT_OF_MEMORY),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError(CUDA_OF_DALI),
        RuntimeError("Can't allocate 1073741824 bytes on device 0."),
        RuntimeError("encountered:\n\nnvImageCodec failure: '#5'"),  # an allocator's
        RuntimeError("encountered:\n\nnvImageCodec failure: '#21'"),  # a call of CUDA
        RuntimeError("When using pipeline_inputs named arguments, either prefetch_queue_depth ... shall be set to 1"),
    ],
    ids=lambda error: str(error).split()[-1],
)
def test_what_is_no_fault_of_a_picture_is_told_apart(error, monkeypatch, good):
    assert not is_of_a_picture(error)

    class StandIn:
        def run(self, **encoded):
            raise error

    monkeypatch.setattr("dali_ops.check.decoding_pipeline", lambda *_, **__: StandIn())
    with pytest.raises(type(error)) as raised:
        DecodingCheck("visible").reasons(good[:1])
    assert raised.value is error
