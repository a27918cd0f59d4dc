import math

import torch

from pipeline.models.image.erasing import RandomErasing

ERASE = RandomErasing(0.5, (0.02, 0.4), 0.3)


def test_boxes_are_as_often_as_large_and_as_long_as_asked():
    torch.manual_seed(0)
    top, left, height, width = ERASE.boxes(20000, 256, 128).unbind(1)
    erased = height > 0
    share = erased.float().mean().item()
    assert abs(share - 0.5) < 0.015  # four deviations
    assert torch.equal(erased, width > 0) and not top[~erased].any() and not left[~erased].any()
    area, aspect = (height * width)[erased] / (256 * 128), (height / width)[erased]
    assert area.min() > 0.019 and area.max() < 0.41
    assert 0.27 < aspect.min() < 0.4 and 2.5 < aspect.max() < 3.7
    assert (top + height).max() <= 256 and (left + width).max() <= 128
    assert top.min() == left.min() == 0 and (top + height).max() == 256 and (left + width).max() == 128
    small = area < 0.1  # which fit whatever their aspect: it is uniform
    lowest, highest = 0.3, 1 / 0.3
    assert abs(aspect[small].mean() - (lowest + highest) / 2) < 0.05
    assert abs(aspect[small].std() - (highest - lowest) / math.sqrt(12)) < 0.05


def test_a_box_and_nothing_else_is_set_to_0():
    erase, images = RandomErasing(1.0, (0.1, 0.3), 0.5), torch.rand(6, 3, 24, 16) + 1
    before = images.clone()
    torch.manual_seed(3)
    made = erase(images)
    torch.manual_seed(3)
    for image, copy, box in zip(images, made, erase.boxes(6, 24, 16).int().tolist(), strict=True):
        top, left, height, width = box
        expected = image.clone()
        expected[:, top : top + height, left : left + width] = 0
        assert torch.equal(copy, expected) and height * width > 0
    assert torch.equal(images, before)


def test_what_does_not_fit_or_is_not_wanted_erases_nothing():
    images = torch.rand(4, 3, 16, 16)
    assert torch.equal(RandomErasing(0.0, (0.1, 0.3), 0.5)(images), images)
    assert torch.equal(RandomErasing(1.0, (1.0, 1.0), 1.0)(images), images)


def test_gradients_pass_what_is_left():
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    made = RandomErasing(1.0, (0.2, 0.3), 0.5)(images)
    made.sum().backward()
    assert torch.equal(images.grad, (made != 0).float())
