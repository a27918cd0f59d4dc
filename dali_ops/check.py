"""The search for files that cannot be decoded: by batches, and one by one where a batch fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nvidia.dali import Pipeline, fn, types

from dali_ops.decode import check_family, decode, path_bytes
from dali_ops.execution import new_pipeline

StrPath = str | os.PathLike[str]


def first_undecodable(paths: Sequence[StrPath], family: str) -> tuple[str, str] | None:
    """The first path that cannot be read or decoded, with the reason in a few words; None if all can."""
    return next(undecodable(paths, family, batch_size=1), None)


def undecodable(
    paths: Sequence[StrPath],
    family: str,
    *,
    threads: int = 1,
    batch_size: int = 64,
    advance: Callable[[int], object] = lambda count: None,
) -> Iterator[tuple[str, str]]:
    """Every path that cannot be read or decoded, with the reason in a few words, in their order.

    Decodes all on the CPU as training does. `advance` is called with the number of files done since the last call.
    """
    check_family(family)
    together = None
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        reasons = {path: _why_unreadable(Path(path)) for path in batch}
        readable = [path for path in batch if reasons[path] is None]
        together = together or _decoding_pipeline(family, batch_size, threads)
        if readable and (reason := _why_undecodable(together, readable)):
            together = None  # DALI promises nothing of a pipeline that has failed
            reasons |= {readable[0]: reason} if len(readable) == 1 else _reasons_one_by_one(readable, family)
        yield from ((os.fspath(path), reason) for path, reason in reasons.items() if reason)
        advance(len(batch))


def _reasons_one_by_one(paths: Sequence[StrPath], family: str) -> dict[StrPath, str | None]:
    reasons: dict[StrPath, str | None] = {}
    pipeline = None
    for path in paths:
        pipeline = pipeline or _decoding_pipeline(family, 1, 1)
        reasons[path] = _why_undecodable(pipeline, [path])
        pipeline = None if reasons[path] else pipeline
    return reasons


def _why_unreadable(path: Path) -> str | None:
    if not path.exists():
        return "the file does not exist"
    if not path.is_file():
        return "not a file"
    if path.stat().st_size == 0:
        return "the file is empty"
    return None if os.access(path, os.R_OK) else "no permission to read the file"


def _why_undecodable(pipeline: Pipeline, paths: Sequence[StrPath]) -> str | None:
    # DALI's own message is a dozen lines about the operator, and of the file only a number of an error.
    try:
        pipeline.run(path=[path_bytes(path) for path in paths])
    except RuntimeError as error:
        if "Failed to decode" in str(error):
            return "the picture is damaged or cut short"
        return "not a picture in a format that DALI decodes, or its header is damaged"
    return None


def _decoding_pipeline(family: str, batch_size: int, threads: int) -> Pipeline:
    pipeline = new_pipeline(
        batch_size=batch_size, device="cpu", device_id=None, decode="cpu", threads=threads, prefetch=1
    )
    with pipeline:
        paths = fn.external_source(name="path", dtype=types.UINT8, ndim=1)
        pipeline.set_outputs(decode(paths, family=family, device="cpu", decode="cpu"))
    pipeline.build()
    return pipeline
