"""The training pipeline: captured images in, one augmented batch a view out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from nvidia.dali import Pipeline, fn
from nvidia.dali.data_node import DataNode
from nvidia.dali.types import DALIDataType

from dali_ops.captured import Kind, captured_images, fed_kind
from dali_ops.decode import BASES, check_base
from dali_ops.derive.stages import check_tiles
from dali_ops.erasing import erase
from dali_ops.execution import Source, build, new_pipeline
from dali_ops.geometry import check_image_size, crop, flip, windows
from dali_ops.mixing import MIXINGS
from dali_ops.normalize import IMAGENET, Normalization, replicate_to
from dali_ops.views import View, show


def training_pipeline(
    source: Callable[[int], tuple],
    *,
    batch_size: int,
    form: str,
    views: Sequence[View],
    height: int,
    width: int,
    interpolation: str,
    pad: int,
    pad_fill: int = 0,
    normalization: Normalization = IMAGENET,
    device: str,
    device_id: int | None,
    decode: str,
    threads: int,
    prefetch: int,
) -> Pipeline:
    """Returns a built pipeline whose every run makes one batch a view, in the order of `views`.

    Each is (batch_size, height, width, 3) uint8; `torch_output` turns them into normalized tensors. Every captured
    modality in use is read, decoded and resized once; one that no view uses is not read.

    source(i), i = 0, 1, ..., returns a tuple: for each captured modality in use, in the order visible, infrared, a list
    of batch_size arrays (of the form `form`: `decode.FORMS`); last, a float32 array (batch_size, len(views),
    `parameters.width` of the most stages that a view has). It is called `prefetch` batches ahead: let what it returns
    depend on i alone. `pad` is the number of pixels, of the level `pad_fill`, on every side that the crop may reach
    into. `normalization` is that of the tensors: erased boxes have the color that becomes the `fill` of their view.
    Stages behind normalization aren't applied here.

    Raises ValueError for views or settings that are impossible; running raises RuntimeError for a file that cannot be
    decoded (`check.DecodingCheck` finds it).
    """
    _check(views, height, width, pad)
    sampled = any(view.is_random for view in views)  # else DALI warns of an input that isn't used
    used = [base for base in BASES if any(view.base == base for view in views)]
    pipeline = new_pipeline(
        batch_size=batch_size, device=device, device_id=device_id, decode=decode, threads=threads, prefetch=prefetch
    )

    def feed(iteration: int) -> tuple:
        *files, parameters = source(iteration)
        return *files, windows(parameters, height, width, pad), *([parameters] if sampled else [])

    size = {"height": height, "width": width}
    resized = partial(captured_images, form=form, height=height, width=width, interpolation=interpolation)
    with pipeline:
        files, window, parameters = training_inputs(feed, form, len(used), sampled)
        # each captured modality once, however many views show it
        captured = {
            base: resized(of_base, base=base, device=device, decode_place=decode)
            for base, of_base in zip(used, files, strict=True)
        }
        # a view: derived at first, which may need the whole image, then cropped, flipped and erased
        outputs = []
        for number, view in enumerate(views):
            image, channels = show(view, captured[view.base], parameters[number], **size)
            image = crop_and_flip(image, channels, window, number, pad=pad, pad_fill=pad_fill, **size)
            outputs.append(erase_as(view, image, parameters[number], normalization))
        pipeline.set_outputs(*outputs)
    build(pipeline)
    return pipeline


def training_inputs(
    feed: Source, form: str, captured: int, sampled: bool
) -> tuple[Sequence[DataNode], DataNode, DataNode]:
    """Returns the inputs of the graph: files of each of the `captured` modalities, windows, parameters.

    Where nothing is `sampled`, `feed` gives no parameters; the windows stand for them, and no operator reads them.
    """
    kinds: list[Kind] = [*[fed_kind(form)] * captured, (DALIDataType.INT32, 4, None)]
    if sampled:
        kinds.append((DALIDataType.FLOAT, 2, None))
    dtypes, dimensions, layouts = map(list, zip(*kinds, strict=True))
    fed = fn.external_source(feed, num_outputs=len(kinds), dtype=dtypes, ndim=dimensions, layout=layouts)
    return fed[:captured], fed[captured], fed[-1]


def crop_and_flip(
    image: DataNode, channels: int, window: DataNode, view: int, *, pad: int, pad_fill: int, height: int, width: int
) -> DataNode:
    """Crops and flips uint8 HWC of 1 or 3 `channels` as the window of a view (of `windows`) says; returns three
    channels."""
    image = crop(image, channels, window, view, height=height, width=width, fill=pad_fill) if pad else image
    return replicate_to(flip(image, window, view), channels)


def erase_as(view: View, image: DataNode, parameters: DataNode, normalization: Normalization) -> DataNode:
    """Erases the box of a view's parameters, where the view has a color for it."""
    return image if view.fill is None else erase(image, parameters, normalization.color_of(view.fill))


def _check(views: Sequence[View], height: int, width: int, pad: int) -> None:
    """Raises ValueError for settings that cannot be built."""
    if not views:
        raise ValueError("views: expected at least one; found none")
    check_image_size(height, width)
    if pad < 0:
        raise ValueError(f"pad: expected 0 or more pixels; found {pad}")
    for view in views:
        check_base(view.base)
        check_tiles(view.stages, height, width)
        if view.mixing not in (None, *MIXINGS):
            raise ValueError(f"mixing: expected one of {', '.join(MIXINGS)}; found {view.mixing!r}")
