"""The attributes of a timm model that this project relies on, as a type: timm returns plain modules."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn

from pipeline.models.taken import Taken


class Backbone(nn.Module):
    """A timm model as `create_backbone` returns it. For annotations: no module is an instance of this class.

    num_features      C, channels of the map
    feature_info      stages and their channels, of families that have stages
    pretrained_model_args  arguments of the model whose weights it gets, as far as timm is told
    pretrained_cfg    architecture, tag and more of the weights that timm has for it
    origin            which weights it has (`pipeline.models.weights.weights_origin`)
    negative_share    share of the values below 0 in the map of an image of noise, 0-1; 0 behind a ReLU
    class_token_pooled  whether it has a class token, and timm's own pooling takes that
    patch_embed       what cuts its patches; of transformers only
    token_grid        rows and columns of its patches, as first cut; None where it cuts none
    grad_checkpointing  whether layers are run again in the backward pass; some families ask their stages instead
    taken             what was taken of a file or a run, None without one
    forward_features  images (B, 3, H, W) -> map (B, C, h, w) or (B, h, w, C), or tokens (B, N, C)
    group_matcher     how its layers follow each other, for timm's functions about layers; not every model has one
    no_weight_decay   names of parameters that should not decay; not every model has it
    """

    num_features: int
    feature_info: list[dict[str, Any]]
    pretrained_model_args: dict[str, Any]
    pretrained_cfg: dict[str, Any]
    origin: str
    negative_share: float
    class_token_pooled: bool
    patch_embed: Any
    token_grid: tuple[int, int] | None
    grad_checkpointing: bool
    taken: Taken | None
    forward_features: Callable[[torch.Tensor], torch.Tensor]
    group_matcher: Callable[..., Any]
    no_weight_decay: Callable[[], Collection[str]]
