"""A timm backbone by name: built, with its weights, and changed as settings ask."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, cast

import timm
from timm.models import is_model_in_modules, split_model_name_tag
from torch import nn

from pipeline.models.ibn import put_ibn
from pipeline.models.last_stride import PLAIN, remove_last_stride
from pipeline.models.patch_stride import overlap_patches
from pipeline.models.probing import pools_class_token, probe
from pipeline.models.stages import keep_stages
from pipeline.models.timm_arguments import shapes_only, timm_arguments
from pipeline.models.timm_model import Backbone
from pipeline.models.weights import Source, find_weights, first_line, load_backbone_weights, weights_origin


def create_backbone(
    name: str,
    *,
    height: int,
    width: int,
    pretrained: bool,
    weights: str | None,
    last_stride: int,
    last_stage: int | None = None,
    ibn: str = "none",
    drop_path: float = 0.0,
    kwargs: Mapping[str, Any] | None = None,
    grad_checkpointing: bool = False,
    patch_stride: int | None = None,
) -> Backbone:
    """Returns a timm model without classifier and pooling; call its `forward_features` on (B, 3, height, width).

    name         timm's, with or without a tag: "resnet50", "resnet50.tv_in1k"
    height, width  of the images, in pixels; given to the models whose input size is fixed (transformers)
    pretrained   fetch timm's weights; needs the network or timm's cache
    weights      a local file or a run's folder (`pipeline.models.weights`), used instead of fetching
    last_stride  2: as timm builds it. 1: the last stage keeps its input's size (Luo et al., "Bag of Tricks and a
                 Strong Baseline for Person Re-Identification", 2019), by `remove_last_stride` without dilation;
                 ConvNeXts: timm's output_stride=16, which dilates the last stage. Plain transformers have no such
                 stride and ignore it.
    last_stage   stages that are kept: `keep_stages`; the last of them is then that of `last_stride`. None: all
    ibn          "a": `put_ibn`
    drop_path    probability of leaving a residual branch out in training (timm's drop_path_rate), 0-1
    kwargs       further keyword arguments of timm.create_model
    grad_checkpointing  compute activations again in the backward pass instead of keeping them
    patch_stride  pixels between the patches of a plain transformer; None: their side

    The model's attributes are those of `Backbone`. Parameters that `forward_features` does not use (ConvNeXt's head
    norm) are frozen.

    Raises ValueError for an unknown name or tag, a family without what is asked for, an argument or an image size that
    the model cannot take, weights that do not arrive or fit; FileNotFoundError for a file of weights that doesn't
    exist.
    """
    check_name(name)
    source = None if weights is None else find_weights(weights)
    options = {"height": height, "width": width, "last_stride": last_stride}
    arguments = timm_arguments(name, **options, patch_stride=patch_stride, drop_path=drop_path, kwargs=kwargs or {})
    # The model with its weights, then the changes of this project, which keep the names of parameters.
    backbone = _build(name, pretrained and source is None, arguments)
    if last_stage is not None:  # a run of such a backbone has no others
        keep_stages(backbone, last_stage)
    _load(backbone, pretrained, source, ibn)
    if last_stride == 1:
        remove_last_stride(backbone, name)
    if patch_stride is not None:
        overlap_patches(backbone, name, (height, width), patch_stride)
    _check_patches(backbone, name, height, width)
    _probe(backbone, name, arguments, height, width)
    if grad_checkpointing:
        _checkpoint_gradients(backbone, name)
    return backbone


def _probe(backbone: Backbone, name: str, arguments: dict[str, Any], height: int, width: int) -> None:
    """Fills in the attributes of `Backbone` that an image of that size tells, and timm's own model."""
    probe(backbone, name, height, width)
    backbone.token_grid = getattr(getattr(backbone, "patch_embed", None), "grid_size", None)
    backbone.class_token_pooled = pools_class_token(backbone, name, arguments)


def check_name(name: str) -> None:
    """Raises ValueError if timm knows no such model or tag; names the nearest."""
    if not timm.is_model(name):
        nearest = get_close_matches(split_model_name_tag(name)[0], timm.list_models(), n=3) or ["resnet50"]
        raise ValueError(f"backbone: timm has no model {name!r}; nearest: {', '.join(nearest)}")
    architecture, tag = split_model_name_tag(name)
    tags = timm.list_models(f"{architecture}.*", include_tags=True)
    if tag and name not in tags:
        raise ValueError(f"backbone: timm has no weights {name!r}; there are: {', '.join(tags) or 'none'}")


def _build(name: str, pretrained: bool, arguments: dict[str, Any]) -> Backbone:
    try:
        late = pretrained and norms_after_pooling(name, arguments)
        asked = arguments if late else arguments | {"global_pool": ""}
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, **asked)
        if late:
            model.norm, model.fc_norm = model.fc_norm, nn.Identity()
        return cast(Backbone, model)
    except Exception as error:  # timm and the hub raise many kinds; the user needs one line
        if pretrained:
            raise ValueError(
                f"pretrained: the weights of {name} could not be fetched ({first_line(error)}); "
                "give a local file or a run as weights, or set pretrained to false"
            ) from error
        raise ValueError(f"backbone: {name} cannot be built with {arguments}: {first_line(error)}") from error


def norms_after_pooling(name: str, arguments: dict[str, Any]) -> bool:
    """Whether timm's model, a plain transformer, has its last norm behind its pooling.

    Without the pooling, timm builds that norm before it, under another name, and loads no weights into it.
    """
    if not is_model_in_modules(name, PLAIN):
        return False
    return not isinstance(getattr(shapes_only(name, **arguments), "fc_norm", nn.Identity()), nn.Identity)


def _load(backbone: Backbone, pretrained: bool, source: Source | None, ibn: str) -> None:
    """Loads weights, if given, and records what they are. IBN comes before weights that have it, else after
    them."""
    awaited = ibn == "a"
    backbone.taken = None
    if source is not None:
        try:
            backbone.taken = load_backbone_weights(backbone, source)
        except ValueError:
            if not awaited:
                raise
            put_ibn(backbone)
            awaited = False
            backbone.taken = load_backbone_weights(backbone, source)
    backbone.origin = weights_origin(backbone, pretrained, backbone.taken)
    if awaited:
        put_ibn(backbone)


def _checkpoint_gradients(backbone: nn.Module, name: str) -> None:
    try:
        backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise ValueError(f"grad_checkpointing: timm's {name} has none; set it to false") from error


def _check_patches(backbone: nn.Module, name: str, height: int, width: int) -> None:
    cut = getattr(getattr(backbone, "patch_embed", None), "proj", None)
    if not isinstance(cut, nn.Conv2d) or cut.kernel_size != cut.stride:
        return  # no patches, or overlapping ones, which lose less than a stride
    patch = cut.stride
    if height % patch[0] or width % patch[1]:
        raise ValueError(
            f"height, width: {name} cuts images into {patch[0]} x {patch[1]} patches; "
            f"found {height} x {width}, whose edge would be lost: use multiples of the patch"
        )
