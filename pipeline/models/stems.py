"""A backbone split into its stem, of which there may be several copies, and the body that all modalities share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TypeVar, get_args

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
from pipeline.settings import Sharing, StemDepth

Found = TypeVar("Found")

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
# Family -> the name of its stage N, counted from 1, and the offset of N in it.
STAGES: dict[type[nn.Module], tuple[str, int]] = {
    ResNet: ("layer{}", 0),
    RegNet: ("s{}", 0),
    ResNetV2: ("stages.{}", -1),
    ByobNet: ("stages.{}", -1),
    ConvNeXt: ("stages.{}", -1),
    SwinTransformer: ("layers.{}", -1),
    SwinTransformerV2: ("layers.{}", -1),
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


def stems_by_base(stem_of: Mapping[Modality, str]) -> dict[str, list[str]]:
    """Returns by captured modality the stems of its images and of those derived from them, each once."""
    by_base: dict[str, list[str]] = {}
    for modality, stem in stem_of.items():
        by_base.setdefault(modality.base.key, []).append(stem)
    return {base: list(dict.fromkeys(stems)) for base, stems in by_base.items()}


def build_stems(backbone: nn.Module, keys: Sequence[str], depth: StemDepth = "stem") -> nn.ModuleDict:
    """Returns one stem per key, equal at the start; the backbone's own stem is taken out, in place.

    depth  what belongs to it: the backbone's first "convolution" alone, whose norm is then shared; its "stem"; or also
           its stages up to that of "stage1" ... "stage4"
    The key "shared" alone leaves the backbone whole and stands for no separate stem. Raises ValueError for a timm
    family that STEMS doesn't list, or a depth it doesn't have, with other keys.
    """
    keys = list(dict.fromkeys(keys))
    if keys == [SHARED]:
        if depth != "stem":
            raise ValueError(f"stem_depth: expected stem where all modalities share one; found {depth}")
        return nn.ModuleDict({SHARED: nn.Identity()})
    stem = take_out(backbone, stem_modules(backbone, depth))
    return nn.ModuleDict({key: deepcopy(stem) if position else stem for position, key in enumerate(keys)})


def stem_modules(backbone: nn.Module, depth: StemDepth) -> list[str]:
    """Returns the names of the modules of a stem, in the order in which `forward_features` calls them."""
    names = of_family(STEMS, backbone)
    # With a dynamic image size timm asks the patch embedding for its grid on every call.
    if names is None or getattr(backbone, "dynamic_img_size", False):
        known = ", ".join(family.__name__ for family in STEMS)
        raise ValueError(
            f'stems: separate stems are for {known} of fixed image size; found {type(backbone).__name__}: use "shared"'
        )
    if depth == "stem":
        return [*names]
    if depth == "convolution":
        return [first_convolution(backbone)]
    pattern, offset = of_family(STAGES, backbone) or ("none", 0)
    stages = [pattern.format(number + 1 + offset) for number in range(int(depth.removeprefix("stage")))]
    missing = [name for name in stages if not has_module(backbone, name)]
    if missing:
        known = ", ".join(family.__name__ for family in STAGES)
        raise ValueError(f"stem_depth: {depth} is for stages of {known}; found {type(backbone).__name__}")
    return [*names, *stages]


def first_convolution(backbone: nn.Module) -> str:
    """Returns the name of the convolution that images go through first. Raises ValueError where there is none."""
    for name in of_family(STEMS, backbone) or ():
        for inner, module in getattr(backbone, name).named_modules():
            if name != "patch_embed" and isinstance(module, nn.Conv2d):
                return f"{name}.{inner}".rstrip(".")
    known = ", ".join(family.__name__ for family, names in STEMS.items() if names != ("patch_embed",))
    raise ValueError(f"stem_depth, input: a first convolution is known of {known}; found {type(backbone).__name__}")


def of_family(table: Mapping[type[nn.Module], Found], backbone: nn.Module) -> Found | None:
    return next((found for family, found in table.items() if isinstance(backbone, family)), None)


def has_module(backbone: nn.Module, name: str) -> bool:
    return name in dict(backbone.named_modules())


def take_out(backbone: nn.Module, names: Sequence[str]) -> nn.Sequential:
    """Removes modules; `backbone.forward_features` then takes what they return. Parameters keep their names."""
    taken = nn.Sequential()
    for name in names:
        *parents, child = name.split(".")
        place: nn.Module = taken
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Sequential())
            place = getattr(place, parent)
        place.add_module(child, backbone.get_submodule(name))
        # empty, it returns its input, and gradient checkpointing finds no layers in it
        setattr(backbone.get_submodule(".".join(parents)), child, nn.Sequential())
    return taken
