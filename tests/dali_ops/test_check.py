from __future__ import annotations

import numpy as np
import pytest
import torch

from dali_ops.check import DecodingCheck, is_of_an_image
from dali_ops.decode import path_bytes
from dali_ops.eval_graph import evaluation_pipeline

UNKNOWN = "not an image in a format that DALI decodes, or its header is damaged"
CUT = "the image is damaged or cut short"


def encoded(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


@pytest.fixture
def good(visible_files) -> list[np.ndarray]:
    return [encoded(path.read_bytes()) for path in visible_files]


def bad_images(good: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
    return {
        "empty": (good[:0], "the file is empty"),
        "page": (encoded(b"<html>404</html>"), UNKNOWN),
        "zeros": (np.zeros(500, np.uint8), UNKNOWN),
        "start": (good[:2], UNKNOWN),
        "header": (good[:30], UNKNOWN),
        "half": (good[: len(good) // 2], CUT),
    }


@pytest.mark.parametrize("base", ["visible", "infrared"])
def test_good_images_have_no_reason(base, visible_files, infrared_files):
    images = [encoded(path.read_bytes()) for path in visible_files + infrared_files]
    assert DecodingCheck(base, batch_size=len(images), threads=2).reasons(images) == [None] * len(images)


@pytest.mark.parametrize("name", ["empty", "page", "zeros", "start", "header", "half"])
def test_a_bad_image_alone_has_its_reason(name, good):
    image, reason = bad_images(good[0])[name]
    assert DecodingCheck("visible").reasons([image]) == [reason]


def test_bad_images_are_found_among_good_ones_batch_after_batch(good):
    check = DecodingCheck("visible", batch_size=4, threads=2)
    for image, reason in bad_images(good[0]).values():
        assert check.reasons([good[0], image, good[1], image]) == [None, reason, None, reason]
        assert check.reasons(good[:3]) == [None] * 3


def test_an_unknown_base_is_an_error():
    with pytest.raises(ValueError, match="base: expected one of visible, infrared; found 'x'"):
        DecodingCheck("x")


def error_of(feed: list[np.ndarray], form: str) -> RuntimeError:
    """Of the graph that reads and decodes images."""
    place = {"device": "cpu", "device_id": None, "decode": "cpu", "threads": 1, "prefetch": 1}
    pipeline = evaluation_pipeline(
        lambda i: feed,
        batch_size=len(feed),
        form=form,
        base="visible",
        stages=(),
        height=8,
        width=8,
        interpolation="bilinear",
        **place,
    )
    with pytest.raises(RuntimeError) as raised:
        pipeline.run()
    return raised.value


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [("png", {16: 127, 21: 127}, "std::bad_alloc"), ("bmp", {28: 64}, "Invalid sample_type")],
    ids=["more pixels than memory", "bits that no type has"],
)
def test_headers_that_promise_too_much_are_the_images_fault(kind, changes, message, good, visible_files):
    (path,) = (path for path in visible_files if path.suffix == f".{kind}")
    image = bytearray(path.read_bytes())
    for place, byte in changes.items():
        image[place] = byte
    error = error_of([good[0], encoded(image)], "encoded")
    assert message in str(error) and is_of_an_image(error)
    assert DecodingCheck("visible").reasons([encoded(image)]) == [UNKNOWN]


@pytest.mark.parametrize("name", ["empty", "page", "zeros", "start", "header", "half", "missing", "folder"])
def test_what_dali_says_of_a_bad_image_is_known_as_such(name, good, visible_files, tmp_path):
    path = tmp_path / "folder" / "bad.jpg"
    path.parent.mkdir()
    if name not in ("missing", "folder"):
        image, _ = bad_images(good[0])[name]
        path.write_bytes(image.tobytes())
        if len(image):
            assert is_of_an_image(error_of([good[0], image], "encoded"))
    path = path.parent if name == "folder" else path
    assert is_of_an_image(error_of([path_bytes(visible_files[0]), path_bytes(path)], "path"))


OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
OF_DALI = """Critical error in pipeline:
Error in {} operator `nvidia.dali.fn.{}`,
which was used in the pipeline definition with the following traceback:

  File "dali_ops/decode.py", line 36, in decode
    images = fn.decoders.image(

encountered:

{}
Current pipeline object is no longer valid."""
OUT_OF_MEMORY_OF_DALI = "CUDA runtime API error cudaErrorMemoryAllocation (2):\nout of memory"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(OUT_OF_MEMORY),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError(OF_DALI.format("mixed", "decoders.image", OUT_OF_MEMORY_OF_DALI)),
        RuntimeError(OF_DALI.format("mixed", "decoders.image", "Can't allocate 1073741824 bytes on device 0.")),
        RuntimeError(OF_DALI.format("mixed", "decoders.image", "CUDA allocation failed")),
        RuntimeError(OF_DALI.format("mixed", "decoders.image", "nvImageCodec failure: '#5'")),  # of an allocator
        RuntimeError(OF_DALI.format("mixed", "decoders.image", "nvImageCodec failure: '#21'")),  # of a call of CUDA
        RuntimeError(OF_DALI.format("GPU", "multi_paste", OUT_OF_MEMORY_OF_DALI)),
        RuntimeError(OF_DALI.format("CPU", "resize", "Failed to decode sample #0")),
        RuntimeError("When using pipeline_inputs named arguments, either prefetch_queue_depth ... shall be set to 1"),
    ],
)
def test_what_is_no_fault_of_an_image_is_told_apart(error):
    assert not is_of_an_image(error)


def test_a_file_may_be_called_after_what_fails_on_a_gpu():
    reason = "File mapping failed: CUDA error encountered.jpg\nC++ context: [/opt/dali/dali/util/mmaped_file.cc:105]"
    assert is_of_an_image(RuntimeError(OF_DALI.format("CPU", "io.file.read", reason)))
    assert is_of_an_image(RuntimeError(OF_DALI.format("mixed", "decoders.image", "Failed to decode sample #7 : ")))
