"""Codes of images: which values are what, and what is decoded of exchanged ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.image.attributes import AttributeDecoder, AttributeEncoder, AttributeParameters, Attributes
from pipeline.models.image.exchange import Code, imitations, relit
from tests.models.image.reference import exactly, leaky

BLOCKS, WIDTH, CHANNELS = 4, 512, 8


def test_each_value_of_a_code_is_of_one_part_at_its_published_place():
    places = torch.arange(2048)
    parts = Attributes.of(places.unflatten(0, (1, BLOCKS, WIDTH)))
    style, pose, illumination = (part.flatten().tolist() for part in parts)
    assert (len(style), len(pose), len(illumination)) == (1024, 512, 512)
    assert sorted(style + pose + illumination) == places.tolist()
    for place in style:
        assert place % 512 < 256
    for place in pose:
        assert 256 <= place % 512 < 384
    assert torch.equal(parts.codes.flatten(), places)
    assert parts.excluded[0, 1].tolist() == list(range(512 + 256, 1024))


class Backbone(nn.Module):
    num_features = 24

    def forward_features(self, images):
        return torch.cat([images + channel for channel in range(8)], dim=1)


def test_a_code_is_the_average_of_the_map_cut_in_as_many_parts_as_blocks():
    images = torch.randn(2, 3, 4, 5)
    codes = AttributeEncoder(Backbone(), 3)(images)
    assert codes.shape == (2, 3, 8)
    torch.testing.assert_close(codes[1, 2, 4], images[1, 2].mean() + 6)  # the map's channel 20


def test_a_width_that_cannot_be_cut_is_refused():
    with pytest.raises(
        ValueError, match="^backbone: expected a width that is a multiple of 16, for 4 blocks; found 24$"
    ):
        AttributeEncoder(Backbone(), 4)


def test_parameters_of_a_block_are_of_its_own_part_alone():
    network, codes = AttributeParameters(3, 5, 4).double(), torch.randn(2, 3, 4, dtype=torch.float64)
    found = network(codes)
    assert found.shape == (2, 6, 2, 5)
    for block in range(3):
        for place, networks in enumerate((network.shifts, network.scales)):
            hidden, parameters = codes[:, block], list(networks[block].parameters())
            for weight, bias in zip(parameters[:4:2], parameters[1:4:2], strict=True):
                hidden = leaky(functional.linear(hidden, weight, bias), 0.3)
            values = functional.linear(hidden, *parameters[4:])
            exactly(found[:, 2 * block, place], values[:, :5])
            exactly(found[:, 2 * block + 1, place], values[:, 5:])


def test_images_of_a_decoder_have_no_bounds_and_do_not_depend_on_each_other():
    torch.manual_seed(0)
    decoder = AttributeDecoder(CHANNELS, 2, 4).double()
    prototypes, codes = (torch.randn(*shape, dtype=torch.float64) for shape in ((3, CHANNELS, 4, 4), (3, 2, 4)))
    made = decoder(prototypes, 100 * codes)
    assert made.shape == (3, 3, 16, 16)
    assert made.abs().max() > 1
    exactly(made[1:2], decoder(prototypes[1:2], 100 * codes[1:2]))


def code(seed):
    torch.manual_seed(seed)
    return Code(torch.randn(2, CHANNELS, 4, 4), Attributes.of(torch.randn(2, 2, 8)))


def test_imitations_are_decoded_of_what_their_names_say():
    decoder, own, others = AttributeDecoder(CHANNELS, 2, 8), code(1), code(2)
    (style, pose, illumination), of_others = own.attributes, others.attributes
    exchanged = torch.cat([of_others.style, pose, illumination], dim=2)
    light = torch.cat([of_others.style, of_others.pose, illumination], dim=2)
    made = imitations(decoder, own, others)
    near = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(made.same, decoder(own.prototypes, exchanged), **near)
    torch.testing.assert_close(made.cross, decoder(others.prototypes, exchanged), **near)
    torch.testing.assert_close(made.relit, decoder(others.prototypes, light), **near)
    assert torch.equal(made.attributes.codes, exchanged)
    assert torch.equal(made.judged, torch.cat([made.cross, made.relit]))
    assert not torch.equal(own.attributes.style, of_others.style) and torch.equal(style, own.attributes.style)


def test_one_light_falls_on_all():
    decoder, own, other = AttributeDecoder(CHANNELS, 2, 8), code(1), code(2)
    light = Attributes.of(other.attributes.codes[1:])
    made = relit(decoder, own, light)
    for row in range(2):
        style, pose = own.attributes.style[row], own.attributes.pose[row]
        alone = torch.cat([style, pose, other.attributes.illumination[1]], dim=1)[None]
        torch.testing.assert_close(made[row : row + 1], decoder(own.prototypes[row : row + 1], alone))
