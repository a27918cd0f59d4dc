import pytest
import torch

from pipeline.models.gray import to_gray
from pipeline.models.image.pixel_range import PixelRange, gray

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def levels():
    """(B, 3, H, W) in 0 .. 1, with both ends."""
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    images[0, :, 0, 0], images[1, :, 0, 0] = 0.0, 1.0
    return images


def normalized(levels):
    return torch.stack([(levels[:, c] - MEAN[c]) / STD[c] for c in range(3)], dim=1)


def test_levels_become_signed(levels):
    found = PixelRange(MEAN, STD).signed(normalized(levels))
    torch.testing.assert_close(found, 2 * levels - 1, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0, :, 0, 0], torch.full((3,), -1.0))


def test_both_ways_give_the_image_back(levels):
    pixels, images = PixelRange(MEAN, STD).double(), normalized(levels).double()
    torch.testing.assert_close(pixels.normalized(pixels.signed(images)), images, rtol=0, atol=1e-14)
    signed = 2 * levels.double() - 1
    torch.testing.assert_close(pixels.signed(pixels.normalized(signed)), signed, rtol=0, atol=1e-14)


@pytest.mark.parametrize("way", [PixelRange.signed, PixelRange.normalized])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_give_float32(way, dtype, levels):
    pixels = PixelRange(MEAN, STD)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = way(pixels, levels.to(dtype))
    assert found.dtype == torch.float32
    assert torch.equal(found, way(pixels, levels.to(dtype).float()))


def test_nothing_is_saved_or_learned():
    pixels = PixelRange(MEAN, STD)
    assert not pixels.state_dict() and not list(pixels.parameters())
    assert {name for name, _ in pixels.named_buffers()} == {"mean", "std"}


def test_gray_has_three_equal_channels_by_weights_of_four_digits(levels):
    found = gray(levels)
    expected = 0.2989 * levels[:, 0] + 0.587 * levels[:, 1] + 0.114 * levels[:, 2]
    assert found.shape == levels.shape
    for channel in range(3):
        torch.testing.assert_close(found[:, channel], expected)
    assert (found[:, :1] - to_gray(levels)).abs().max() > 1e-5  # whose weights have three digits
