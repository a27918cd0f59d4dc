"""IBN-a: instance norm for half of the channels of a ResNet's first norms (Pan et al., "Two at Once", ECCV 2018)."""

from __future__ import annotations

import torch
from timm.models.resnet import ResNet
from torch import nn

from pipeline.models.instance_norm import InstanceNorm

STAGES = ("layer1", "layer2", "layer3")


class InstanceBatchNorm(nn.Module):
    """Instance norm of the first half of the channels of (B, C, H, W), batch norm of the rest.

    Made of the batch norm that it takes the place of: each half keeps its scales and biases, and the batch norm its
    statistics. `IN` and `BN` are the names in the authors' own pre-trained weights.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        half, rest = norm.num_features // 2, norm.num_features - norm.num_features // 2
        self.IN = InstanceNorm(half, eps=norm.eps, affine=True)
        self.BN = nn.BatchNorm2d(rest, eps=norm.eps, momentum=norm.momentum)
        channels = {name: values for name, values in norm.state_dict().items() if values.ndim}
        self.IN.load_state_dict({name: channels[name][:half] for name in ("weight", "bias")})
        self.BN.load_state_dict({name: values[half:] for name, values in channels.items()}, strict=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        first, rest = features.split([self.IN.num_features, self.BN.num_features], dim=1)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)


def put_ibn(backbone: nn.Module) -> None:
    """Puts an InstanceBatchNorm in place of the first norm of each block of stages 1 to 3, as the authors do.

    Raises ValueError for another family than ResNet, or blocks whose first norm is no plain batch norm.
    """
    if not isinstance(backbone, ResNet):
        raise ValueError(f'ibn: "a" is for ResNets; found {type(backbone).__name__}: set it to none')
    for block in (block for stage in STAGES for block in getattr(backbone, stage)):
        if type(block.bn1) is not nn.BatchNorm2d:
            raise ValueError(
                f'ibn: "a" is for blocks that begin with batch norm; found {type(block.bn1).__name__}: set it to none'
            )
        block.bn1 = InstanceBatchNorm(block.bn1)
