"""The stages of a backbone: which it has, and how many of them are kept."""

from __future__ import annotations

from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from torch import nn

from pipeline.models.stems import STAGES, has_module, of_family
from pipeline.models.timm_model import Backbone

CUT = (ResNet, RegNet)  # whose layers behind the stages, if any, don't depend on the width of the last
MOST = 4


def stages_of(backbone: nn.Module) -> list[str]:
    """Returns the names of a backbone's stages in their order; none of a family that STAGES doesn't list."""
    pattern, offset = of_family(STAGES, backbone) or ("", 0)
    names = [pattern.format(number + offset) for number in range(1, MOST + 1)] if pattern else []
    return [name for name in names if has_module(backbone, name) and any(backbone.get_submodule(name).children())]


def keep_stages(backbone: Backbone, count: int) -> None:
    """Leaves out, in place, the stages behind the first `count`; the backbone's `num_features` are then the last one's.

    Raises ValueError for another family than CUT, or where there are fewer.
    """
    if not isinstance(backbone, CUT):
        known = ", ".join(family.__name__ for family in CUT)
        raise ValueError(f"last_stage: expected null but for {known}; found {count} for a {type(backbone).__name__}")
    stages = stages_of(backbone)
    if not 1 <= count <= len(stages):
        raise ValueError(f"last_stage: expected 1 to {len(stages)}, or null; found {count}")
    for name in stages[count:]:
        setattr(backbone, name, nn.Sequential())  # empty, it returns its input
    backbone.num_features = next(one["num_chs"] for one in backbone.feature_info if one["module"] == stages[count - 1])
