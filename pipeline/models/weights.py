"""Backbone weights from a local file, checked key by key; and what a backbone's weights are."""

from __future__ import annotations

import hashlib
from importlib import import_module

import timm.models
import torch
from torch import nn

from pipeline.models.timm_model import Backbone

# Top-level modules of a file or a model that retrieval does not use: a file may have them or lack them.
HEADS = ("head", "head_dist", "fc", "classifier", "attn_pool", "pre_logits")
# Tensors that timm resamples for the size of the images, by arithmetic that may round otherwise on another machine.
RESAMPLED = ("pos_embed", "rel_pos", "relative_position")


def load_backbone_weights(backbone: nn.Module, path: str) -> None:
    """Loads a .safetensors or .pth file into a timm backbone, in place, by timm's own reader and key conversion.

    Every tensor of the backbone must be in the file with the same shape, and the file may hold no others; classifier
    heads are exempt from both. Raises ValueError in one line: file unreadable, or how many tensors match and the first
    that doesn't.
    """
    state = _convert(backbone, _read(path), path)
    wanted = {key: tensor.shape for key, tensor in backbone.state_dict().items() if _is_needed(key)}
    matching = [key for key, shape in wanted.items() if key in state and state[key].shape == shape]
    wrong = [key for key in wanted if key not in matching] + [
        key for key in state if key not in wanted and _is_needed(key)
    ]
    if wrong:
        raise ValueError(
            f"weights: {path} is not for this backbone: {len(matching)} of its {len(wanted)} tensors match by "
            f"name and shape, the file has {len(state)}; first difference: {wrong[0]}"
        )
    # Heads whose shape differs would stop load_state_dict even when it isn't strict.
    own = backbone.state_dict()
    backbone.load_state_dict(
        {key: tensor for key, tensor in state.items() if key in own and own[key].shape == tensor.shape}, strict=False
    )


def weights_origin(backbone: Backbone, pretrained: bool, weights: str | None) -> str:
    """Returns what a backbone starts from: `resnet50.tv_in1k <SHA-256>`, `file <SHA-256>`, or `random`.

    The digest's first 16 digits; it is of all tensors but heads, batch norm's counters and RESAMPLED.
    """
    if not pretrained and weights is None:
        return "random"
    config = backbone.pretrained_cfg
    name = f"{config['architecture']}.{config['tag']}".rstrip(".") if weights is None else "file"
    return f"{name} {digest(backbone)[:16]}"


def digest(backbone: nn.Module) -> str:
    """Returns the SHA-256, 64 hex digits, of the names, types, shapes and values of the tensors that count."""
    found = hashlib.sha256()
    for key, tensor in sorted(backbone.state_dict().items()):
        if _is_needed(key) and not any(part in key for part in RESAMPLED):
            values = tensor.detach().cpu().contiguous()
            found.update(f"{key} {values.dtype} {tuple(values.shape)}\n".encode())
            found.update(values.flatten().view(torch.uint8).numpy())
    return found.hexdigest()


def first_line(error: Exception) -> str:
    """Returns an exception's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _is_needed(key: str) -> bool:
    # Batch norm's counter is missing in files older than it, and no result depends on it.
    return key.split(".")[0] not in HEADS and not key.endswith("num_batches_tracked")


def _read(path: str) -> dict[str, torch.Tensor]:
    try:
        state = timm.models.load_state_dict(path)
        if not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise TypeError("it holds other things than tensors")
        return state
    except Exception as error:  # each format's reader has its own kinds
        raise ValueError(f"weights: {path} holds no weights that timm can read ({first_line(error)})") from error


def _convert(backbone: nn.Module, state: dict[str, torch.Tensor], path: str) -> dict[str, torch.Tensor]:
    """Converts foreign key names, and position embeddings to the image size, by timm where it has a function for it."""
    convert = getattr(import_module(type(backbone).__module__), "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return convert(state, backbone)
    except Exception as error:  # it looks keys up and reshapes
        raise ValueError(f"weights: {path} is not for this backbone ({first_line(error)})") from error
