import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.image.style import StyleDecoder, StyleEncoder, StyleParameters
from tests.models.image.images import images
from tests.models.image.reference import adain, exactly, layer_norm, reflected


@pytest.mark.parametrize("size", [(128, 64), (48, 32), (16, 16)])
def test_a_style_is_a_code_whatever_the_size(size):
    assert StyleEncoder(4, 4, 5)(images(*size)).shape == (2, 5)


@pytest.mark.parametrize(("depth", "expected"), [(4, "16 x 16 pixels for 4"), (1, "4 x 4 pixels for 2")])
def test_images_too_small_for_a_style_are_refused(depth, expected):
    with pytest.raises(ValueError, match=f"^images: expected at least {expected} halvings; found 3 x 8$"):
        StyleEncoder(4, depth, 5)(images(3, 8))


def test_shifts_come_before_scales_layer_by_layer():
    network, codes = StyleParameters(3, 4, 5, 6), torch.randn(2, 5)
    values = network.perceptron(codes)
    parameters = network(codes)
    assert parameters.shape == (2, 3, 2, 4)
    for layer in range(3):
        assert torch.equal(parameters[:, layer, 0], values[:, 8 * layer : 8 * layer + 4])
        assert torch.equal(parameters[:, layer, 1], values[:, 8 * layer + 4 : 8 * layer + 8])


@pytest.mark.parametrize("content", [256, 64])
def test_a_decoder_enlarges_its_content(content):
    decoder = StyleDecoder(content, blocks=1)
    made = decoder(torch.randn(1, content, 8, 4), torch.randn(1, 2, 2, content))
    assert made.shape == (1, 3, 16, 8)
    assert made.abs().max() <= 1


def test_a_decoder_takes_each_block_its_own_style():
    decoder, content, style = StyleDecoder(8, blocks=2), torch.randn(1, 8, 4, 4), torch.randn(1, 4, 2, 8)
    features = decoder.blocks[1](decoder.blocks[0](content, style[:, :2]), style[:, 2:])
    assert torch.equal(decoder(content, style), decoder.last(decoder.ups(features)))
    assert decoder.layers == 4


def test_a_decoder_without_bounds():
    decoder = StyleDecoder(8, blocks=1, ups=2, slope=0.3, last=nn.Conv2d(2, 3, 1))
    nn.init.constant_(decoder.last.bias, 10.0)
    made = decoder(torch.randn(1, 8, 4, 4), 100 * torch.randn(1, 2, 2, 8))
    assert made.shape == (1, 3, 16, 16)
    assert made.abs().max() > 1


@pytest.mark.parametrize("shape", [(2, 2, 2, 8), (2, 4, 2, 4), (2, 64)])
def test_a_style_of_another_shape_is_refused(shape):
    found = re.escape(f"style: expected shape (2, 4, 2, 8); found {shape}")
    with pytest.raises(ValueError, match=f"^{found}$"):
        StyleDecoder(8, blocks=2)(torch.randn(2, 8, 4, 4), torch.randn(shape))


def test_the_style_encoder_equals_its_formula():
    network, batch = StyleEncoder(3, 3, 5).double(), images(32, 16).double()
    parameters = iter(network.parameters())
    found = reflected(batch, next(parameters), next(parameters)).relu()
    for _ in range(3):
        found = reflected(found, next(parameters), next(parameters), 2).relu()
    exactly(network(batch), functional.linear(found.flatten(2).mean(dim=2), next(parameters), next(parameters)))


def test_style_parameters_equal_their_formula():
    network, codes = StyleParameters(3, 4, 5, 6).double(), torch.randn(2, 5, dtype=torch.float64)
    first, first_bias, second, second_bias, third, third_bias = network.parameters()
    hidden = (codes @ first.T + first_bias).relu()
    hidden = (hidden @ second.T + second_bias).relu()
    exactly(network(codes).flatten(1), hidden @ third.T + third_bias)


def test_the_decoder_equals_its_formula():
    network = StyleDecoder(4, 1, 1).double()
    content, style = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 4, 3, 5), (2, 2, 2, 4)))
    parameters = list(network.parameters())
    hidden = adain(reflected(content, *parameters[:2]), style[:, 0, 0], style[:, 0, 1]).relu()
    found = content + adain(reflected(hidden, *parameters[2:4]), style[:, 1, 0], style[:, 1, 1])
    twice = found.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    found = layer_norm(reflected(twice, *parameters[4:6]), *parameters[6:8]).relu()
    exactly(network(content, style), reflected(found, *parameters[8:]).tanh())
