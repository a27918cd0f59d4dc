import pytest
import torch

from pipeline.models.mam import MAM
from pipeline.parts import INSERTS


def block(channels=6, reduction=3):
    torch.manual_seed(0)
    return MAM(INSERTS.options_of({"reduction": reduction}, "mam"), channels).double()


@pytest.mark.parametrize("images", [1, 3])
def test_equals_loops(images):
    made = block()
    features = torch.randn(images, 6, 3, 2, dtype=torch.float64)
    first, second = (layer.weight.detach()[:, :, 0, 0] for layer in (made.reduce, made.expand))
    expected = torch.zeros_like(features)
    for image in range(images):
        means = torch.stack([features[image, channel].mean() for channel in range(6)])
        kept = torch.sigmoid(second @ (first @ means).clamp(min=0))
        for channel in range(6):
            places = features[image, channel]
            normalized = (places - places.mean()) / torch.sqrt(places.var(correction=0) + 1e-5)
            expected[image, channel] = kept[channel] * places + (1 - kept[channel]) * normalized
    torch.testing.assert_close(made(features), expected)
    torch.testing.assert_close(made.eval()(features), expected)  # it keeps no statistics


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_a_single_image(memory_format):
    features = torch.randn(1, 6, 3, 2, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(1, 6, 3, 2, dtype=torch.float64).contiguous(memory_format=memory_format)
    made = block()
    assert torch.autograd.gradcheck(lambda x: (made(x) * weight).sum(), (features,))


def test_widths_start_and_the_gradient_of_equal_places():
    made = block(channels=64, reduction=16)
    assert (made.reduce.out_channels, block(channels=6, reduction=16).reduce.out_channels) == (4, 1)
    assert made.reduce.bias is None and made.expand.bias is None
    assert made.reduce.weight.std().item() == pytest.approx((2 / 4) ** 0.5, rel=0.2)  # fan out
    assert made.expand.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.2)
    features = torch.ones(2, 64, 3, 2, dtype=torch.float64, requires_grad=True)
    made(features).sum().backward()
    assert torch.isfinite(features.grad).all()
