"""One image through a backbone says which of its parameters are used, and what its map is like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pipeline.models.timm_arguments import shapes_only
from pipeline.models.timm_model import Backbone
from pipeline.models.weights import first_line


def probe(backbone: Backbone, name: str, height: int, width: int) -> None:
    """Freezes the parameters that `forward_features` does not use, and sets the backbone's `negative_share`.

    Distributed training waits for a gradient of every parameter that asks for one. One image of noise is passed
    forwards and backwards in eval mode; no statistics and no gradients are kept, and no random state is used. Raises
    ValueError where the backbone can't take the image.
    """
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    parameters = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    was_training = backbone.training
    backbone.eval()
    try:
        with torch.enable_grad():
            features = backbone.forward_features(image)
            gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    except Exception as error:  # asserts of timm's layers about sizes and windows
        raise ValueError(f"backbone: {name} fails on a {height} x {width} image: {first_line(error)}") from error
    backbone.train(was_training)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)
    backbone.negative_share = (features.detach() < 0).float().mean().item()


def pools_class_token(backbone: Backbone, name: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a backbone has a class token and timm's model of that name and arguments pools by it."""
    if getattr(backbone, "cls_token", None) is None:
        return False
    return getattr(shapes_only(name, **arguments), "global_pool", "") == "token"
