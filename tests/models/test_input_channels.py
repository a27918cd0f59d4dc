"""Backbones of images that don't have three channels."""

import pytest
import timm
import torch
from torch import nn

from pipeline.models.input_channels import take_channels


@pytest.mark.parametrize("options", [{}, {"stem_type": ""}], ids=["deep stem", "one convolution"])
def test_four_channels_are_the_three_repeated_and_scaled(options):
    backbone = timm.create_model("resnet10t", num_classes=0, **options)
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    before = first.weight.detach().clone()
    take_channels(backbone, 4)
    assert first.in_channels == 4 and first.weight.shape[1] == 4 and first.weight.requires_grad
    for channel in range(4):
        torch.testing.assert_close(first.weight[:, channel], before[:, channel % 3] * 3 / 4)
    assert backbone(torch.randn(2, 4, 32, 32)).shape == (2, 512)


def test_a_family_whose_first_convolution_is_not_known_is_refused():
    with pytest.raises(ValueError, match="a first convolution is known of ResNet, .*; found VisionTransformer"):
        take_channels(timm.create_model("vit_tiny_patch16_224", num_classes=0), 4)
