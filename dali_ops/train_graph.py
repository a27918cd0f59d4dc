"""The training pipeline: recorded images in, one augmented batch a view out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nvidia.dali import Pipeline, fn, types

from dali_ops.decode import CHANNELS, FAMILIES, check_family
from dali_ops.decode import decode as decode_files
from dali_ops.derive import Derivation, get_derivation
from dali_ops.erasing import erase
from dali_ops.execution import new_pipeline
from dali_ops.geometry import check_size, crop_and_flip, pad_black, resize
from dali_ops.normalize import normalize, replicate
from dali_ops.parameters import DERIVATION


@dataclass(frozen=True)
class View:
    """What one output shows: the recorded images of a family, or a derivation of them (a name in `derive`)."""

    family: str
    derivation: str | None = None


def training_pipeline(
    source: Callable[[int], tuple],
    *,
    batch_size: int,
    encoded: bool,
    views: Sequence[View],
    height: int,
    width: int,
    pad: int,
    erasing: bool,
    half: bool,
    device: str,
    device_id: int | None,
    decode: str,
    threads: int,
    prefetch: int,
) -> Pipeline:
    """A built pipeline whose every run gives one batch a view, in the order of `views`.

    Each is (batch_size, 3, height, width) float32 (float16 if `half`), normalised; `torch_output` turns them into
    tensors. Every family in use is read, decoded and resized once; a family that no view uses is not read.

    source(i), i = 0, 1, ..., gives a tuple: for each family in use, in the order visible, infrared, a list of
    batch_size arrays (encoded pictures if `encoded`, else `decode.path_bytes`); last, a float32 array (batch_size,
    len(views), `parameters.WIDTH`). It is called `prefetch` batches ahead: let what it returns depend on i alone. With
    `erasing` False the erasing parameters are not looked at. `pad` is the number of black pixels on every side that
    the crop may reach into.

    Raises ValueError for views or settings that are impossible; running raises RuntimeError for a file that cannot be
    decoded (`check.DecodingCheck` finds it).
    """
    derivations = _check(views, height, width, pad)
    used = [family for family in FAMILIES if any(view.family == family for view in views)]
    pipeline = new_pipeline(
        batch_size=batch_size, device=device, device_id=device_id, decode=decode, threads=threads, prefetch=prefetch
    )
    with pipeline:
        kinds = {"dtype": [types.UINT8] * len(used) + [types.FLOAT], "ndim": [1] * len(used) + [2]}
        *files, parameters = fn.external_source(source, num_outputs=len(used) + 1, **kinds)
        recorded = {}
        for family, of_family in zip(used, files, strict=True):
            images = decode_files(of_family, encoded=encoded, family=family, device=device, decode=decode)
            recorded[family] = resize(images, height=height, width=width)
        outputs = []
        for number, (view, derivation) in enumerate(zip(views, derivations, strict=True)):
            window = crop_and_flip(parameters, number, height=height, width=width, pad=pad)
            image = derivation.graph(recorded[view.family], parameters[number, DERIVATION])
            image = pad_black(image, height=height, width=width, pad=pad)
            image = replicate(image) if (derivation.channels or CHANNELS[view.family]) == 1 else image
            image = normalize(image, half=half, crop_and_flip=window)
            outputs.append(erase(image, parameters, number) if erasing else image)
        pipeline.set_outputs(*outputs)
    pipeline.build()
    return pipeline


def _check(views: Sequence[View], height: int, width: int, pad: int) -> list[Derivation]:
    """The derivation of each view; ValueError for what cannot be built."""
    if not views:
        raise ValueError("views: expected at least one; found none")
    check_size(height, width)
    if pad < 0:
        raise ValueError(f"pad: expected 0 or more pixels; found {pad}")
    for view in views:
        check_family(view.family)
    return [get_derivation(view.derivation or "identity", view.family) for view in views]
