import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.models.image.blocks import (
    AdaptiveResidualBlock,
    ResidualBlock,
    SampleLayerNorm,
    UpBlock,
    adaptive_instance_norm,
    conv,
    to_image,
    up_blocks,
)
from tests.models.image.reference import adain, exactly, instance, layer_norm, reflected


@pytest.fixture
def features():
    """(B, C, H, W) in float64."""
    return torch.randn(2, 4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def style(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_adaptive_instance_norm_equals_a_loop(features):
    shift, scale = style(2, 2, 4)
    exactly(adaptive_instance_norm(features, shift, scale), adain(features, shift, scale))


def test_sample_layer_norm_equals_a_loop(features):
    norm = SampleLayerNorm(4).double()
    nn.init.normal_(norm.bias)
    exactly(norm(features), layer_norm(features, norm.weight, norm.bias))


def test_sample_layer_norm_starts_uniform_and_without_shift():
    norm = SampleLayerNorm(10_000)
    assert 0 <= norm.weight.min() < 0.01 and 0.99 < norm.weight.max() <= 1
    assert abs(norm.weight.mean() - 0.5) < 0.02
    assert not norm.bias.any()


def test_sample_layer_norm_keeps_the_type_and_computes_in_float32(features):
    norm, half = SampleLayerNorm(4), (100 + features).bfloat16()
    found = norm(half)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, norm(half.float()).bfloat16())


@pytest.mark.parametrize("norm", [SampleLayerNorm(4), lambda x: adaptive_instance_norm(x, *torch.ones(2, 2, 4))])
def test_gradients_of_equal_values_are_finite(norm):
    features = torch.full((2, 4, 3, 5), 0.7, requires_grad=True)
    norm(features).square().sum().backward()
    assert features.grad.isfinite().all()


def test_residual_block_equals_its_formula(features):
    block = ResidualBlock(4, norm="instance", slope=0.3).double()
    (first, *_), (second, _) = block.layers
    hidden = functional.leaky_relu(instance(reflected(features, *first.parameters())), 0.3)
    exactly(block(features), features + instance(reflected(hidden, *second.parameters())))


def test_adaptive_residual_block_equals_its_formula(features):
    block, of_block = AdaptiveResidualBlock(4, slope=0.3).double(), style(2, 2, 2, 4)
    hidden = adain(reflected(features, *block.first.parameters()), of_block[:, 0, 0], of_block[:, 0, 1])
    hidden = torch.where(hidden > 0, hidden, 0.3 * hidden)
    expected = adain(reflected(hidden, *block.second.parameters()), of_block[:, 1, 0], of_block[:, 1, 1])
    exactly(block(features, of_block), features + expected)


def test_up_block_equals_its_formula(features):
    block = UpBlock(4, 2, slope=0.1).double()
    _, (convolution,), norm, _ = block
    twice = features.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    exactly(block(features), functional.leaky_relu(norm(reflected(twice, *convolution.parameters())), 0.1))


def test_up_blocks_double_the_size_and_halve_the_channels():
    assert up_blocks(16, 3)(torch.rand(1, 16, 4, 2)).shape == (1, 2, 32, 16)
    assert torch.equal(up_blocks(16, 0)(torch.ones(1, 16, 4, 2)), torch.ones(1, 16, 4, 2))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (4, 2), (5, 1), (7, 1)])
@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_sizes_are_divided_by_the_stride(kernel, stride, padding):
    assert conv(3, 5, kernel, stride, padding=padding)(torch.rand(1, 3, 12, 8)).shape == (
        1,
        5,
        12 // stride,
        8 // stride,
    )


def test_padding_is_what_it_is_called(features):
    mirrored, with_zeros = conv(4, 2, 3).double(), conv(4, 2, 3, padding="zeros").double()
    with_zeros.load_state_dict(mirrored.state_dict())
    exactly(mirrored(features), reflected(features, *mirrored[0].parameters()))
    exactly(with_zeros(features), functional.conv2d(features, *with_zeros[0].parameters(), padding=1))
    exactly(mirrored(features)[:, :, 1:-1, 1:-1], with_zeros(features)[:, :, 1:-1, 1:-1])


def test_layers_of_a_convolution():
    kinds = [type(layer).__name__ for layer in conv(3, 4, 3, norm="instance", slope=0.2)]
    assert kinds == ["Conv2d", "InstanceNorm", "LeakyReLU"]
    assert [type(layer).__name__ for layer in conv(3, 4, 3, slope=0.0)] == ["Conv2d", "ReLU"]
    (convolution,) = conv(3, 4, 3, bias=False)
    assert convolution.bias is None


def test_only_the_tracked_norm_has_parameters_and_statistics():
    tracked, plain = (conv(3, 4, 3, norm=norm)[1].state_dict() for norm in ("tracked", "instance"))
    assert sorted(tracked) == ["bias", "num_batches_tracked", "running_mean", "running_var", "weight"]
    assert not plain


def test_unknown_norm():
    with pytest.raises(ValueError, match="^norm: expected one of none, instance, tracked; found 'batch'$"):
        conv(3, 4, 3, norm="batch")


def test_images_end_in_signed_levels():
    images = to_image(4)(100 * torch.randn(2, 4, 8, 8))
    assert images.shape == (2, 3, 8, 8)
    assert images.abs().max() <= 1 and images.min() < -0.9 and images.max() > 0.9


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("norm", ["instance", "tracked"])
def test_gradients_of_instance_norms_are_the_same_in_both_memory_formats(images, norm):
    torch.manual_seed(0)
    network = nn.Sequential(conv(3, 8, 3, norm=norm, slope=0.2), ResidualBlock(8, norm=norm), conv(8, 4, 3)).double()
    inputs, found = torch.randn(images, 3, 16, 8, dtype=torch.float64), []
    weight = torch.randn(images, 4, 16, 8, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        laid_out = copy.deepcopy(network).to(memory_format=layout)
        loss = (laid_out(inputs.contiguous(memory_format=layout)) * weight).sum()
        found.append(torch.autograd.grad(loss, [*laid_out.parameters()]))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_an_adaptive_norm_of_one_image_is_right_in_channels_last():
    torch.manual_seed(0)
    features = torch.randn(1, 6, 8, 4, dtype=torch.float64)
    shift, scale, weight = torch.randn(1, 6), torch.randn(1, 6), torch.randn_like(features)
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        given = features.contiguous(memory_format=layout).requires_grad_()
        out = adaptive_instance_norm(given, shift.double(), scale.double())
        found.append(torch.autograd.grad(out, given, weight.contiguous(memory_format=layout))[0])
    torch.testing.assert_close(*found)
