"""Every network has as many parameters as the published code's. Nothing is computed: the device is `meta`."""

import pytest
import torch
from torch import nn

from pipeline.models.classifier import new_classifier
from pipeline.models.image.attributes import AttributeDecoder, AttributeParameters
from pipeline.models.image.discriminators import (
    JointDiscriminator,
    PatchDiscriminator,
    patch_discriminator_of_scales,
    residual_discriminator_of_scales,
)
from pipeline.models.image.disentangled import embedding_layers, linear
from pipeline.models.image.prototype import PrototypeEncoder
from pipeline.models.image.style import StyleDecoder, StyleEncoder, StyleParameters
from pipeline.models.image.translator import Translator
from pipeline.models.image.vae import Decoder, Encoder


def hicmd_decoder():
    return AttributeDecoder().decoder


def hicmd_head():
    """That of RegDB's 206 people."""
    return nn.ModuleList([embedding_layers(2048, 2048), linear(2048, 1024), new_classifier(2048, 206, bias=True)])


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (Translator, 6_053_504),
        (PatchDiscriminator, 11_155_392),
        (JointDiscriminator, 11_810_816),
        (StyleEncoder, 709_824),
        (StyleDecoder, 3_198_723),
        (StyleParameters, 625_152),
        (patch_discriminator_of_scales, 1_380_802),
        (hicmd_decoder, 5_819_267),
        (hicmd_head, 6_720_718),
        (AttributeParameters, 6_303_744),
        (AttributeDecoder, 5_819_267 + 6_303_744),
        (PrototypeEncoder, 1_520_448),
        (residual_discriminator_of_scales, 1_025_571),
    ],
)
def test_as_many_parameters_as_published(network, parameters):
    assert count(network) == parameters


@pytest.mark.parametrize(
    ("network", "millions"),
    [(Encoder, "5.39"), (Decoder, "5.75"), (lambda: patch_discriminator_of_scales(3, 64), "8.27")],
)
def test_as_many_millions_as_unit_prints(network, millions):
    assert f"{count(network) / 1e6:.2f}" == millions


def count(network):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network().parameters())
