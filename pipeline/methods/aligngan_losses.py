"""AlignGAN's losses of images and of its discriminators (Wang et al., ICCV 2019)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from pipeline.gathering import roll_rows
from pipeline.losses.identity import identity_loss
from pipeline.losses.image_losses import least_squares, mean_absolute
from pipeline.models.heads import Feature


class Made(NamedTuple):
    """A batch, (n, 3, H, W) in -1 .. 1, its translations, and the maps of the infrared images and of the translated
    ones. Those of real images have no gradient."""

    visible: torch.Tensor
    infrared: torch.Tensor
    labels: torch.Tensor
    to_visible: torch.Tensor
    to_infrared: torch.Tensor
    map: torch.Tensor
    made_map: torch.Tensor


def cycle_losses(made: Made, to_visible: nn.Module, to_infrared: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns mean absolute differences, each the mean over both directions: of an image and what it is after two
    translations; and of an image and its translation into its own modality."""
    there_and_back = to_visible(made.to_infrared), to_infrared(made.to_visible)
    into_own = to_visible(made.visible), to_infrared(made.infrared)
    cycle, same = (
        (mean_absolute(visible, made.visible) + mean_absolute(infrared, made.infrared)) / 2
        for visible, infrared in (there_and_back, into_own)
    )
    return cycle, same


def discriminator_loss(discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Returns the loss of a discriminator of images, a scalar that reaches it alone: 1/4 where it can tell nothing."""
    return (least_squares(discriminator(real), 1) + least_squares(discriminator(fake.detach()), 0)) / 2


def joint_loss(made: Made, discriminator: nn.Module, images_per_modality: int) -> torch.Tensor:
    """Returns the loss of the joint discriminator, a scalar that reaches it alone: 1/4 where it can tell nothing.

    Real is a real image with its own map. Fake are the image of another identity with that map, a real image with the
    map of the translated one, and translated images with either map.
    """
    fake, fake_map = made.to_infrared.detach(), made.made_map.detach()
    others = roll_rows(made.infrared, images_per_modality)
    pairs = ((others, made.map), (made.infrared, fake_map), (fake, made.map), (fake, fake_map))
    wrong = torch.stack([least_squares(discriminator(*pair), 0) for pair in pairs]).mean()
    return (least_squares(discriminator(made.infrared, made.map), 1) + wrong) / 2


def classified(feature: Feature, labels: torch.Tensor) -> torch.Tensor:
    """Returns the identity loss of a feature with logits, a scalar."""
    assert feature.logits is not None, "the classifier is for training"
    return identity_loss(feature.logits, labels)
