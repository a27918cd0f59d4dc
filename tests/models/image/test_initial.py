import pytest
import torch
from torch import nn

from pipeline.models.image.initial import start_gaussian, start_gaussian_weights, start_kaiming

STARTS = [start_kaiming, start_gaussian, start_gaussian_weights]


def network():
    torch.manual_seed(0)
    norm = nn.InstanceNorm2d(64, affine=True)
    nn.init.constant_(norm.weight, 0.5)
    return nn.Sequential(nn.Conv2d(32, 64, 5), norm, nn.ConvTranspose2d(64, 64, 4), nn.Linear(200, 300))


def test_kaiming_has_the_deviation_of_the_inputs():
    layers = network()
    start_kaiming(layers)
    for layer, inputs in ((layers[0], 32 * 25), (layers[2], 64 * 16), (layers[3], 200)):
        assert layer.weight.std().item() == pytest.approx((2 / inputs) ** 0.5, rel=0.02)
        assert abs(layer.weight.mean().item()) < 0.02 * (2 / inputs) ** 0.5
        assert not layer.bias.any()


@pytest.mark.parametrize("start", [start_gaussian, start_gaussian_weights])
def test_gaussian_has_a_deviation_of_2_percent(start):
    layers = network()
    start(layers)
    for layer in (layers[0], layers[2], layers[3]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert bool(layer.bias.any()) == (start is start_gaussian_weights)


def test_gaussian_weights_keep_the_biases():
    layers, before = network(), network()
    start_gaussian_weights(layers)
    assert all(torch.equal(layers[i].bias, before[i].bias) for i in (0, 2, 3))


@pytest.mark.parametrize("start", STARTS)
def test_norms_keep_their_start_and_missing_biases_are_no_error(start):
    layers = network().append(nn.Conv2d(3, 3, 1, bias=False))
    start(layers)
    assert torch.equal(layers[1].weight, torch.full((64,), 0.5))


@pytest.mark.parametrize("start", STARTS)
def test_the_same_seed_gives_the_same_weights(start):
    one, other = network(), network()
    for layers, seed in ((one, 1), (other, 1)):
        torch.manual_seed(seed)
        start(layers)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    start(other)
    assert not torch.equal(one[0].weight, other[0].weight)
