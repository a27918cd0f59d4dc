"""What holds for all networks: how they start, what they learn, which sizes they refuse. Narrow ones: the forms are
equal."""

import re

import pytest
import torch
from torch import nn

from pipeline.models.image.discriminators import (
    JointDiscriminator,
    PatchDiscriminator,
    patch_discriminator_of_scales,
)
from pipeline.models.image.style import StyleDecoder, StyleEncoder, StyleParameters
from pipeline.models.image.translator import Translator
from pipeline.models.image.vae import Decoder, Encoder
from tests.models.image.images import images


def narrow():
    return [
        Translator(4, 1),
        PatchDiscriminator(4, 3),
        JointDiscriminator(4, 6, 2, 1),
        StyleEncoder(4, 3, 5),
        StyleParameters(2, 4, 5, 6),
        StyleDecoder(8, 1, 1),
        patch_discriminator_of_scales(2, 4, 2),
        Encoder(4, 2, 1),
        Decoder(4, 2, 1),
    ]


@pytest.mark.parametrize("size", [(62, 32), (64, 30), (4, 4), (4, 64)])
@pytest.mark.parametrize("network", [Translator(4, 1), Encoder(4, 2, 1)])
def test_images_that_would_not_come_back_in_their_size_are_refused(network, size):
    expected = "images: expected sides that are multiples of 4, from 8 up; found {} x {}".format(*size)
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        network(images(*size))


@pytest.mark.parametrize("network", [Translator(4, 1), nn.Sequential(Encoder(4, 2, 1), Decoder(4, 2, 1))])
def test_the_smallest_size_works(network):
    assert network(images(8, 8)).shape == (2, 3, 8, 8)


def test_the_same_seed_gives_the_same_networks():
    torch.manual_seed(3)
    first = narrow()
    torch.manual_seed(3)
    for one, other in zip(first, narrow(), strict=True):
        own, its = one.state_dict(), other.state_dict()
        assert all(torch.equal(own[name], its[name]) for name in own | its)


@pytest.mark.parametrize("place", range(len(narrow())))
def test_every_parameter_gets_a_finite_gradient(place):
    torch.manual_seed(0)
    network = narrow()[place]
    inputs = {
        JointDiscriminator: (images(), torch.rand(2, 6, 4, 2)),
        StyleParameters: (torch.rand(2, 5),),
        StyleDecoder: (torch.rand(2, 8, 16, 8), torch.rand(2, 2, 2, 8)),
        Decoder: (torch.rand(2, 16, 16, 8),),
    }.get(type(network), (images(),))
    outputs = network(*inputs)
    sum(output.square().sum() for output in (outputs if isinstance(outputs, list) else [outputs])).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_start_of_the_networks():
    """Deviations of a layer's weights, and whether its bias starts at 0."""
    torch.manual_seed(0)
    for network, deviation, zero in (
        (PatchDiscriminator(16, 3)[1][0], 0.02, False),
        (JointDiscriminator(16, 6, 3, 1).image[1][0], 0.02, False),
        (patch_discriminator_of_scales(2, 16, 3).networks[1][1][0], 0.02, True),
        (Encoder(16, 2, 1)[1][0], (2 / 16 / 16) ** 0.5, True),
        (Decoder(16, 2, 1)[0].layers[0][0], (2 / 64 / 9) ** 0.5, True),
    ):
        assert network.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert bool(network.bias.any()) != zero
    translator = Translator(16, 1)
    assert translator[3].layers[0][0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert translator[4][0].weight.std().item() == pytest.approx(0.02, rel=0.05)
