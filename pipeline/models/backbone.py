"""A timm backbone by name: image size, weights, stride of the last stage."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, cast

import timm
import torch
from timm.models import is_model_in_modules, split_model_name_tag
from torch import nn

from pipeline.models.timm_model import Backbone
from pipeline.models.weights import find_weights, first_line, load_backbone_weights, weights_origin

# timm's modules whose last stage can be kept at stride 1, and those that have no stages of different stride.
STRIDED_MODULES = ("resnet", "convnext")
PLAIN_MODULES = ("vision_transformer", "deit", "beit", "eva")


def create_backbone(
    name: str, *, height: int, width: int, pretrained: bool, weights: str | None, last_stride: int
) -> Backbone:
    """Returns a timm model without classifier and pooling; call its `forward_features` on (B, 3, height, width).

    name         timm's, with or without a tag: "resnet50", "resnet50.tv_in1k"
    height, width  of the images, in pixels; given to the models whose input size is fixed (transformers)
    pretrained   fetch timm's weights; needs the network or timm's cache
    weights      a local file or a run's folder (`pipeline.models.weights`), used instead of fetching
    last_stride  2: as timm builds it. 1: the last stage keeps its input's size (Luo et al., "Bag of Tricks and a
                 Strong Baseline for Person Re-Identification", 2019). ResNets: stride 1 without dilation.
                 ConvNeXts: timm's output_stride=16, which dilates the last stage. Plain transformers have no such
                 stride and ignore it.

    The model's attribute `origin` says which weights it has (`weights_origin`), `taken` what was taken of a file.
    Parameters that `forward_features` does not use (ConvNeXt's head norm) are frozen.

    Raises ValueError for an unknown name or tag, a family without `last_stride` 1, an image size the model cannot take,
    weights that do not arrive or fit; FileNotFoundError for a file of weights that doesn't exist.
    """
    check_name(name)
    source = None if weights is None else find_weights(weights)
    arguments = _size_arguments(name, height, width) | _stride_arguments(name, last_stride)
    # The model with its weights, then the changes of this project, which keep the names of parameters.
    backbone = _build(name, pretrained and source is None, arguments)
    backbone.taken = load_backbone_weights(backbone, source) if source else None
    backbone.origin = weights_origin(backbone, pretrained, backbone.taken)
    if last_stride == 1 and is_model_in_modules(name, "resnet"):
        set_last_stride_one(backbone)
    _check_patches(backbone, name, height, width)
    freeze_unused(backbone, name, height, width)
    return backbone


def check_name(name: str) -> None:
    """Raises ValueError if timm knows no such model or tag; names the nearest."""
    if not timm.is_model(name):
        nearest = get_close_matches(split_model_name_tag(name)[0], timm.list_models(), n=3) or ["resnet50"]
        raise ValueError(f"backbone: timm has no model {name!r}; nearest: {', '.join(nearest)}")
    architecture, tag = split_model_name_tag(name)
    tags = timm.list_models(f"{architecture}.*", include_tags=True)
    if tag and name not in tags:
        raise ValueError(f"backbone: timm has no weights {name!r}; there are: {', '.join(tags) or 'none'}")


def _size_arguments(name: str, height: int, width: int) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size:
        return {}
    # Some variants read the grid from the image on each call, which a network with separate stems cannot.
    fixed: dict[str, Any] = {"dynamic_img_size": False} if is_model_in_modules(name, "vision_transformer") else {}
    return {"img_size": (height, width)} | fixed


def _stride_arguments(name: str, last_stride: int) -> dict[str, Any]:
    if last_stride not in (1, 2):
        raise ValueError(f"last_stride: expected 1 or 2; found {last_stride!r}")
    if last_stride == 2 or is_model_in_modules(name, ("resnet", *PLAIN_MODULES)):
        return {}
    if is_model_in_modules(name, "convnext"):
        return {"output_stride": 16}
    known = ", ".join(STRIDED_MODULES)
    raise ValueError(f"last_stride: 1 is for timm's modules {known}; {name} is of another: set it to 2")


def _build(name: str, pretrained: bool, arguments: dict[str, Any]) -> Backbone:
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="", **arguments)
        return cast(Backbone, model)
    except Exception as error:  # timm and the hub raise many kinds; the user needs one line
        if pretrained:
            raise ValueError(
                f"pretrained: the weights of {name} could not be fetched ({first_line(error)}); "
                "give a local file or a run as weights, or set pretrained to false"
            ) from error
        raise ValueError(f"backbone: {name} cannot be built with {arguments}: {first_line(error)}") from error


def set_last_stride_one(backbone: nn.Module) -> None:
    """Removes the stride of a ResNet's `layer4`, in place: on the main path and on the shortcut, without dilation.

    The parameters keep their names and shapes, so weights may be loaded before or after.
    """
    block: Any = backbone.get_submodule("layer4.0")  # timm's BasicBlock or Bottleneck
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (1, 1)
    # Anti-aliased variants stride in `aa`, the "d" and "t" variants in an average pooling before the shortcut's
    # convolution. timm builds neither of them for a stage of stride 1.
    block.aa = nn.Identity()
    if block.downsample is not None and isinstance(block.downsample[0], nn.AvgPool2d):
        block.downsample[0] = nn.Identity()
    block.stride = 1


def _check_patches(backbone: nn.Module, name: str, height: int, width: int) -> None:
    patch = getattr(getattr(backbone, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and (height % patch[0] or width % patch[1]):
        raise ValueError(
            f"height, width: {name} cuts images into {patch[0]} x {patch[1]} patches; "
            f"found {height} x {width}, whose edge would be lost: use multiples of the patch"
        )


def freeze_unused(backbone: Backbone, name: str, height: int, width: int) -> None:
    """Sets requires_grad to False for parameters that `forward_features` does not use.

    Distributed training waits for a gradient of every parameter that asks for one. One image is passed forwards and
    backwards in eval mode; no statistics and no gradients are kept.
    """
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.enable_grad():
            features = backbone.forward_features(torch.zeros(1, 3, height, width))
            gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    except Exception as error:  # asserts of timm's layers about sizes and windows
        raise ValueError(f"backbone: {name} fails on a {height} x {width} image: {first_line(error)}") from error
    backbone.train(was_training)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)
