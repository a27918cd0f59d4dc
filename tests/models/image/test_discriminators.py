import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.image.discriminators import (
    JointDiscriminator,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    patch_discriminator_of_scales,
    residual_discriminator_of_scales,
)
from tests.models.image.images import images
from tests.models.image.reference import exactly, instance, leaky, reflected


@pytest.mark.parametrize(
    ("depth", "size", "places"), [(5, (64, 32), (2, 1)), (3, (64, 32), (8, 4)), (5, (128, 128), (4, 4))]
)
def test_a_map_is_halved_by_each_layer(depth, size, places):
    joint = JointDiscriminator(2, 6, depth - 2, 2)
    assert PatchDiscriminator(2, depth)(images(*size)).shape == (2, 1, *places)
    assert joint(images(*size), torch.rand(2, 6, 7, 3)).shape == (2, 1, *places)


@pytest.mark.parametrize("size", [(32, 32), (64, 31), (48, 24)])
@pytest.mark.parametrize("train", [True, False])
def test_a_map_of_one_place_or_none_is_refused(size, train):
    expected = "images: expected at least 64 x 32 pixels for 5 halvings; found {} x {}".format(*size)
    for network, more in ((PatchDiscriminator(2), ()), (JointDiscriminator(2, 6), (torch.rand(2, 6, 4, 2),))):
        with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
            network.train(train)(images(*size), *more)


def test_the_joint_discriminator_sees_image_and_features():
    torch.manual_seed(0)
    network, batch, features = JointDiscriminator(4, 6, 2, 1), images(), torch.rand(2, 6, 4, 2)
    found = network(batch, features)
    assert not torch.allclose(found, network(batch.flip(0), features))
    assert not torch.allclose(found, network(batch, features.flip(0)))


@pytest.mark.parametrize(("scales", "size"), [(2, (64, 32)), (3, (128, 64)), (1, (16, 16))])
def test_each_scale_has_a_map(scales, size):
    maps = patch_discriminator_of_scales(scales, 2, 4)(images(*size))
    assert [tuple(of_scale.shape) for of_scale in maps] == [
        (2, 1, size[0] >> 4 + i, size[1] >> 4 + i) for i in range(scales)
    ]


def test_scales_see_averages_that_leave_out_the_edge():
    network, batch = MultiScaleDiscriminator(nn.Identity, 3, 0), images(8, 4)
    found, size = network(batch), batch
    for of_scale in found:
        torch.testing.assert_close(of_scale, size)
        size = averages(size)


def averages(size):
    """By loops over the places."""
    height, width = size.shape[2:]
    result = torch.empty(*size.shape[:2], height // 2, width // 2)
    for row in range(height // 2):
        for column in range(width // 2):
            rows, columns = slice(max(2 * row - 1, 0), 2 * row + 2), slice(max(2 * column - 1, 0), 2 * column + 2)
            result[:, :, row, column] = size[:, :, rows, columns].mean(dim=(2, 3))
    return result


def test_scales_have_weights_of_their_own():
    one, other = patch_discriminator_of_scales(2, 4, 2).networks
    assert not torch.equal(one[0][0].weight, other[0][0].weight)


def test_too_many_scales_for_an_image_are_refused():
    with pytest.raises(ValueError, match=r"^images: expected at least 64 x 64 pixels for 6 halvings; found 64 x 32$"):
        patch_discriminator_of_scales(3, 2, 4)(images())


def test_the_patch_discriminator_equals_its_formula():
    network, batch = PatchDiscriminator(3, 3).double(), images(32, 16).double()
    parameters = iter(network.parameters())
    found = leaky(halved(batch, parameters))
    for _ in range(2):
        found = leaky(instance(halved(found, parameters)))
    exactly(network(batch), functional.conv2d(found, next(parameters), padding=1))


def test_the_joint_discriminator_equals_its_formula():
    network, batch = JointDiscriminator(3, 6, 2, 2).double(), images(32, 16).double()
    features = torch.randn(2, 6, 8, 4, dtype=torch.float64)  # of the size of the image's map
    parameters = iter(network.parameters())
    of_image = leaky(instance(halved(leaky(halved(batch, parameters)), parameters)))
    of_features = leaky(functional.conv2d(features, next(parameters), next(parameters)))
    found = torch.cat([of_image, of_features], dim=1)
    for _ in range(2):
        found = leaky(instance(halved(found, parameters)))
    exactly(network(batch, features), functional.conv2d(found, next(parameters), padding=1))


def test_a_scale_equals_its_formula():
    network, batch = patch_discriminator_of_scales(1, 3, 2).double(), images(32, 16).double()
    first, first_bias, second, second_bias, judge, bias = network.parameters()
    found = leaky(reflected(leaky(reflected(batch, first, first_bias, 2)), second, second_bias, 2))
    exactly(network(batch)[0], functional.conv2d(found, judge, bias))


def halved(features, parameters):
    return functional.conv2d(features, next(parameters), next(parameters), stride=2, padding=1)


def test_a_scale_with_residual_blocks_equals_its_formula():
    network, batch = residual_discriminator_of_scales(1, 3, 1).double(), images(32, 16).double()
    parameters, found = iter(network.parameters()), batch
    for stride in (1, 1, 2, 1, 2):
        found = leaky(reflected(found, next(parameters), next(parameters), stride), 0.3)
    hidden = leaky(reflected(found, next(parameters), next(parameters)), 0.3)
    found = found + reflected(hidden, next(parameters), next(parameters))
    exactly(network(batch)[0], reflected(found, *parameters))


def test_residual_discriminators_halve_twice_at_each_scale():
    maps = residual_discriminator_of_scales(3, 2, 1)(images(64, 32))
    assert [tuple(one.shape[1:]) for one in maps] == [(1, 16, 8), (1, 8, 4), (1, 4, 2)]
