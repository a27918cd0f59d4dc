"""The stride of a backbone's last stage: 2 as timm builds it, or 1 for a map of twice the height and width."""

from __future__ import annotations

from typing import Any

from timm.layers import BlurPool2d
from timm.models import is_model_in_modules
from torch import nn

# timm's modules whose last strided block can do without its stride -> how many words the name of a block has
BLOCKS = {"resnet": 2, "resnetv2": 4, "regnet": 2, "byobnet": 3, "efficientnet": 3, "mobilenetv3": 3}
# those whose last stage timm itself keeps at stride 1, dilated, and those that have no stages of different stride
DILATED = ("convnext",)
PLAIN = ("vision_transformer", "deit", "beit", "eva")
POOLS = (nn.AvgPool2d, nn.MaxPool2d, BlurPool2d)


def stride_arguments(name: str, last_stride: int) -> dict[str, Any]:
    """Returns what timm is to build a model with, by its name, for a last stage of stride 1 or 2.

    Raises ValueError for a family that has only 2.
    """
    if last_stride not in (1, 2):
        raise ValueError(f"last_stride: expected 1 or 2; found {last_stride!r}")
    if last_stride == 2 or is_model_in_modules(name, (*BLOCKS, *PLAIN)):
        return {}
    if is_model_in_modules(name, DILATED):
        return {"output_stride": 16}
    known = ", ".join((*BLOCKS, *DILATED))
    raise ValueError(f"last_stride: 1 is for timm's modules {known}; {name} is of another: set it to 2")


def remove_last_stride(backbone: nn.Module, name: str) -> None:
    """Removes the stride of the last block that has one, in place, without dilation; `name`: of the model.

    Main path and shortcut alike. The parameters keep their names and shapes, so weights may be loaded before or after.
    Leaves the families as they are that have no such block.
    """
    words = next((words for module, words in BLOCKS.items() if is_model_in_modules(name, module)), None)
    strided = [name for name, layer in backbone.named_modules() if is_strided(layer)] if words else []
    if not strided:
        return
    block: Any = backbone.get_submodule(".".join(strided[-1].split(".")[:words]))
    for place, layer in [*block.named_modules()]:
        if not is_strided(layer):
            continue
        if isinstance(layer, nn.Conv2d):
            layer.stride = (1, 1)
        else:  # timm builds no pooling in a block of stride 1
            parent, _, child = place.rpartition(".")
            setattr(block.get_submodule(parent), child, nn.Identity())
    if hasattr(block, "stride"):
        block.stride = 1


def is_strided(layer: nn.Module) -> bool:
    """Whether a convolution or a pooling halves the height and width of its map."""
    return isinstance(layer, (nn.Conv2d, *POOLS)) and getattr(layer, "stride", None) in (2, (2, 2), [2, 2])
