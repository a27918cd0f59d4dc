"""The attributes of a timm model that this project relies on, as a type: timm returns plain modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pipeline.models.taken import Taken


class Backbone(nn.Module):
    """A timm model as `create_backbone` returns it. For annotations: no module is an instance of this class.

    num_features      C, channels of the map
    pretrained_model_args  arguments of the model whose weights it gets, as far as timm is told
    pretrained_cfg    architecture, tag and more of the weights that timm has for it
    origin            which weights it has (`pipeline.models.weights.weights_origin`)
    taken             what was taken of a file or a run, None without one
    forward_features  images (B, 3, H, W) -> map (B, C, h, w) or (B, h, w, C), or tokens (B, N, C)
    """

    num_features: int
    pretrained_model_args: dict[str, Any]
    pretrained_cfg: dict[str, Any]
    origin: str
    taken: Taken | None
    forward_features: Callable[[torch.Tensor], torch.Tensor]
