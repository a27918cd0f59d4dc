"""Loads a file of weights, or the network of a run, into a timm backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pipeline.config import load_kept
from pipeline.models.patch_stride import size_side_by_side
from pipeline.models.taken import Taken, shown
from pipeline.models.timm_model import Backbone
from pipeline.models.weights.by_name import Fit, Tensors, counted, fit_by_name
from pipeline.models.weights.by_order import fit_by_order
from pipeline.models.weights.files import read_tensors
from pipeline.models.weights.from_run import plain_backbone, read_run
from pipeline.models.weights.origin import is_needed
from pipeline.weights_source import RUN_SETTINGS, Source

PATCHES = "patch_embed.proj.weight"  # timm's name of a transformer's first convolution
POSITIONS = "pos_embed"
ENOUGH = 0.9  # share of the backbone's tensors that has to be there


def load_backbone_weights(backbone: Backbone, source: Source) -> Taken:
    """Loads what fits into a timm backbone, in place; returns what was taken.

    The file's names may have any prefix, be those that timm converts, or, where all tensors have the same order and
    shapes, be of any kind. Of a run with several stems the visible one is taken. Raises ValueError in one line where
    the file can't be read, has fewer than ENOUGH of the backbone's tensors, or those of a larger network.
    """
    tensors = late_norm(read_tensors(source.file)) if source.run is None else plain_backbone(read_run(source.file))
    wanted = counted(backbone)

    def enough(fit: Fit) -> bool:
        return len(fit.fitting) >= ENOUGH * len(wanted) and len(beyond(fit, wanted)) <= (1 - ENOUGH) * len(wanted)

    with size_told(backbone, source, tensors):
        fit = best = fit_by_name(backbone, wanted, tensors, enough)
        if not enough(fit):
            fit = fit_by_order(backbone, wanted, tensors, enough) or fit
    architecture = backbone.pretrained_cfg["architecture"]  # without timm's tag: these are other weights
    if not enough(fit):
        raise ValueError(refusal(source, architecture, best, wanted, tensors))
    check_positions(backbone, fit, source)
    # What doesn't fit would stop load_state_dict even when it isn't strict.
    own = backbone.state_dict()
    fitting = {name: tensor for name, tensor in fit.state.items() if name in own and own[name].shape == tensor.shape}
    backbone.load_state_dict(fitting, strict=False)
    left = [name for name in wanted if name not in fit.fitting]
    behind = left_behind(tensors, fit, fitting)
    return Taken(source.name, architecture, fit.fitting, left, behind, fit.prefix, bool(fit.pairs))


def late_norm(tensors: Tensors) -> Tensors:
    """Returns the tensors with the name `norm` for a last norm that timm has behind its pooling, as `fc_norm`.

    Here the pooling follows the backbone, and every backbone has its last norm before it.
    """
    late = {name: name.replace("fc_norm.", "norm.") for name in tensors if name.split(".")[-2:-1] == ["fc_norm"]}
    return {name if late.get(name, name) in tensors else late[name]: tensor for name, tensor in tensors.items()}


@contextlib.contextmanager
def size_told(backbone: Backbone, source: Source, tensors: Tensors) -> Iterator[None]:
    """Tells timm which images a run's position embeddings are for; those of files are squares to it.

    For timm, which knows no overlap, patches lie side by side.
    """
    if source.run is None:
        yield
        return
    kept, before = load_kept(source.run / RUN_SETTINGS), backbone.pretrained_model_args
    size = kept.augment.height, kept.augment.width
    if kept.model.patch_stride is not None and PATCHES in tensors:
        size = size_side_by_side(size, tensors[PATCHES].shape[-2:], kept.model.patch_stride)
    backbone.pretrained_model_args = before | {"img_size": size}
    try:
        yield
    finally:
        backbone.pretrained_model_args = before


def beyond(fit: Fit, wanted: Tensors) -> list[str]:
    """Returns the tensors that a larger network has in the modules of this backbone: none of one of the same kind."""
    modules = {name.split(".")[0] for name in wanted}
    others = [name for name in fit.state if name not in wanted and is_needed(name)]
    return [name for name in others if name.split(".")[0] in modules and fit.state[name].is_floating_point()]


def check_positions(backbone: Backbone, fit: Fit, source: Source) -> None:
    """Raises ValueError where a file has position embeddings that can't be resampled: random ones would be no start."""
    own, found = getattr(backbone, POSITIONS, None), fit.state.get(POSITIONS)
    if own is None or found is None or POSITIONS in fit.fitting:
        return
    rows, columns = backbone.patch_embed.grid_size
    raise ValueError(
        f"weights: {source.name}: expected position embeddings of a square of patches, or of the {rows} x {columns} of "
        f"these images; found a tensor {tuple(found.shape)}"
    )


def left_behind(tensors: Tensors, fit: Fit, taken: Tensors) -> list[str]:
    """Returns the names of the file's tensors that weren't taken; one that timm renamed is told by its place."""
    places = {tensor.data_ptr() for tensor in taken.values()}
    names = {f"{fit.prefix}{fit.pairs.get(name, name)}" for name in taken}
    renamed = {name for name, one in tensors.items() if name.startswith(fit.prefix) and one.data_ptr() in places}
    return [name for name in tensors if name not in names | renamed]


def refusal(source: Source, name: str, best: Fit, wanted: Tensors, tensors: Tensors) -> str:
    """Returns what a file has that isn't for this backbone."""
    larger = beyond(best, wanted)
    more = f" and {len(larger)} others in its modules ({shown(larger)})" if larger else ""
    return (
        f"weights: {source.name} is not for this backbone: expected {ENOUGH:.0%} or more of the {len(wanted)} tensors "
        f"of {name} and hardly others; found {len(best.fitting)} of them by name and shape"
        f"{f' behind the prefix {best.prefix}' if best.prefix else ''}{more}; the backbone has {shown([*wanted])}, "
        f"the file {shown([*tensors])}"
    )
