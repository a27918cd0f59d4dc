"""The keyword arguments that timm builds a model with: those that settings stand for, and the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch
from timm.models import is_model_in_modules
from torch import nn

from pipeline.models.last_stride import stride_arguments
from pipeline.models.patch_stride import size_to_build
from pipeline.models.weights import first_line

# arguments of timm that the user doesn't give -> what to set instead
TAKEN = {
    "pretrained": "set model.pretrained",
    "checkpoint_path": "set model.weights",
    "pretrained_cfg": "set model.backbone, whose tag names weights, or model.weights",
    "pretrained_cfg_overlay": "set model.weights",
    "img_size": "set augment.height and augment.width",
    "dynamic_img_size": "images have one size, augment.height and augment.width",
    "output_stride": "set model.last_stride",
    "drop_path_rate": "set model.drop_path",
    "global_pool": "set model.pooling",
    "num_classes": "heads classify",
    "in_chans": "images have three channels",
    "features_only": "heads take the last map",
    "cache_dir": "set the environment variable HF_HOME",
}


def timm_arguments(
    name: str,
    *,
    height: int,
    width: int,
    last_stride: int,
    drop_path: float,
    kwargs: Mapping[str, Any],
    patch_stride: int | None = None,
) -> dict[str, Any]:
    """Returns the keyword arguments of a model of that name. Raises ValueError for what it doesn't take, by its key."""
    taken = next((argument for argument in kwargs if argument in TAKEN), None)
    if taken:
        raise ValueError(f"kwargs.{taken}: not to be given here; {TAKEN[taken]}")
    arguments = size_arguments(name, height, width) | stride_arguments(name, last_stride)
    arguments |= {"drop_path_rate": drop_path} if drop_path else {}
    check_arguments(name, arguments, kwargs)
    arguments = {**arguments, **kwargs}
    if patch_stride is not None:
        arguments["img_size"] = size_to_build(shapes_only(name, **arguments), name, (height, width), patch_stride)
    return arguments


def size_arguments(name: str, height: int, width: int) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.fixed_input_size:
        return {}
    # Some variants read the grid from the image on each call, which a network with separate stems cannot.
    grid_is_fixed = is_model_in_modules(name, ("vision_transformer", "deit", "eva"))
    return {"img_size": (height, width)} | ({"dynamic_img_size": False} if grid_is_fixed else {})


def check_arguments(name: str, arguments: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Raises ValueError naming the key whose argument timm doesn't take. Nothing is computed: shapes are enough."""
    given = {"drop_path_rate": "drop_path"} if "drop_path_rate" in arguments else {}
    given |= {argument: f"kwargs.{argument}" for argument in kwargs}
    if not given:
        return
    try:
        shapes_only(name, **arguments, **kwargs)
    except Exception as error:  # whatever a constructor raises
        named = [key for argument, key in given.items() if f"'{argument}'" in str(error)]
        key = named[0] if named else ", ".join(given.values())
        raise ValueError(f"{key}: {name} isn't built with it ({first_line(error)})") from error


def shapes_only(name: str, **arguments: Any) -> nn.Module:
    """Returns a model whose tensors have no values: made in no time, without a random number."""
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False, **arguments)
