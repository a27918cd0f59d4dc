"""What a backbone or a network starts from: the name of its weights and a digest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import nn

from pipeline.models.taken import Taken
from pipeline.models.timm_model import Backbone

# Top-level modules of a file or a model that retrieval does not use: a file may have them or lack them.
HEADS = ("head", "head_dist", "fc", "classifier", "attn_pool", "pre_logits")
# Tensors that timm resamples for the size of the images, by arithmetic that may round otherwise on another machine.
RESAMPLED = ("pos_embed", "rel_pos", "relative_position")


def weights_origin(backbone: Backbone, pretrained: bool, taken: Taken | None) -> str:
    """Returns what a backbone starts from: `resnet50.tv_in1k <SHA-256>`, `file <SHA-256>`, or `random`.

    The digest's first 16 digits, without what a file left random; `taken`: what came from a file, None without one.
    """
    if taken:
        return f"file {digest(backbone, taken.names if taken.left else None)[:16]}"
    return f"{name_of(backbone)} {digest(backbone)[:16]}" if pretrained else "random"


def name_of(backbone: Backbone) -> str:
    """Returns timm's name of a model with the tag of its weights, also where the model was asked for without one."""
    config = backbone.pretrained_cfg
    return f"{config['architecture']}.{config.get('tag', '')}".rstrip(".")


def digest(module: nn.Module, names: Collection[str] | None = None) -> str:
    """Returns the SHA-256, 64 hex digits, of the names, types, shapes and values of the tensors that count.

    These are all, or those of `names`, but heads, batch norm's counters and RESAMPLED.
    """
    found = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        if (names is None or key in names) and is_needed(key) and not is_resampled(key):
            values = tensor.detach().cpu().contiguous()
            found.update(f"{key} {values.dtype} {tuple(values.shape)}\n".encode())
            found.update(values.flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def is_needed(key: str) -> bool:
    """Whether retrieval depends on a tensor. Batch norm's counter is missing in older files."""
    return key.split(".")[0] not in HEADS and not key.endswith("num_batches_tracked")


def is_resampled(key: str) -> bool:
    return any(part in key for part in RESAMPLED)
