"""A backbone split into its stem, of which there may be several copies, and the body that all modalities share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from typing import get_args

from timm.models.byobnet import ByobNet
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.eva import Eva
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from timm.models.resnetv2 import ResNetV2
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from pipeline.batch import Modality
from pipeline.settings import Sharing

# Family of timm models -> its stem: the modules that `forward_features` calls first, one after the other.
STEMS: dict[type[nn.Module], tuple[str, ...]] = {
    ResNet: ("conv1", "bn1", "act1", "maxpool"),
    ResNetV2: ("stem",),
    RegNet: ("stem",),
    ByobNet: ("stem",),  # CLIP's ResNets among them
    ConvNeXt: ("stem",),
    EfficientNet: ("conv_stem", "bn1"),  # MobileNetV2 among them
    MobileNetV3: ("conv_stem", "bn1"),
    VisionTransformer: ("patch_embed",),
    Eva: ("patch_embed",),
    SwinTransformer: ("patch_embed",),
    SwinTransformerV2: ("patch_embed",),
}
STEM_MODES = get_args(Sharing)
SHARED = "shared"


def stem_keys(mode: str, modalities: Sequence[Modality]) -> dict[Modality, str]:
    """Returns the stem that each modality's rows go through.

    mode  "source":   one stem per captured modality, which its derivative shares
          "modality": one stem per modality in use
          "shared":   one stem for all
    """
    if mode not in STEM_MODES:
        raise ValueError(f"stems: expected one of {', '.join(STEM_MODES)}; found {mode!r}")
    if mode == SHARED:
        return {modality: SHARED for modality in Modality}
    if mode == "modality":
        return {modality: modality.key for modality in modalities}
    bases = {modality.base for modality in modalities}
    return {modality: modality.base.key for modality in Modality if modality.base in bases}


def build_stems(backbone: nn.Module, keys: Sequence[str]) -> nn.ModuleDict:
    """Returns one stem per key, equal at the start; the backbone's own stem is taken out, in place.

    The key "shared" alone leaves the backbone whole and stands for no separate stem. Raises ValueError for a timm
    family that STEMS doesn't list, with other keys.
    """
    keys = list(dict.fromkeys(keys))
    if keys == [SHARED]:
        return nn.ModuleDict({SHARED: nn.Identity()})
    stem = take_stem(backbone)
    return nn.ModuleDict({key: deepcopy(stem) if position else stem for position, key in enumerate(keys)})


def take_stem(backbone: nn.Module) -> nn.Sequential:
    """Removes the stem; `backbone.forward_features` then takes the stem's output. Parameters keep their names in it."""
    names = next((names for family, names in STEMS.items() if isinstance(backbone, family)), None)
    # With a dynamic image size timm asks the patch embedding for its grid on every call.
    if names is None or getattr(backbone, "dynamic_img_size", False):
        known = ", ".join(family.__name__ for family in STEMS)
        raise ValueError(
            f'stems: separate stems are for {known} of fixed image size; found {type(backbone).__name__}: use "shared"'
        )
    stem = nn.Sequential(OrderedDict((name, getattr(backbone, name)) for name in names))
    for name in names:
        setattr(backbone, name, nn.Identity())
    return stem
