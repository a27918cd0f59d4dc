"""The losses of D2RL's image level: of two autoencoders that translate both ways, and of their discriminators.

UNIT's (Liu et al., NeurIPS 2017) with least squares, in the form and with the weights of its later public code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.image_losses import Outputs, least_squares, mean_absolute
from pipeline.losses.term import Parts
from pipeline.models.image.unified import Cycle
from pipeline.precision import wide
from pipeline.settings_key import key

Images = Mapping[Modality, torch.Tensor]
Cycles = Mapping[Modality, Cycle]
Discriminators = Mapping[Modality, Callable[[torch.Tensor], Outputs]]


@dataclass(frozen=True)
class ImageWeights:
    """Weights of `translation_losses`."""

    reconstruction: float = key(10.0, "of an image and what is decoded of its code", min=0)
    code: float = key(0.01, "of the squares of codes, which draws them to 0", min=0)
    cycle: float = key(10.0, "of an image and what it is after two translations", min=0)
    cycled_code: float = key(0.01, "of the squares of the codes of translated images", min=0)
    adversary: float = key(1.0, "of what the discriminators say of translated images", min=0)

    def weigh(self, losses: Parts) -> torch.Tensor:
        """Returns the weighted sum, a scalar."""
        weights = asdict(self)
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()


def translation_losses(images: Images, cycles: Cycles, discriminators: Discriminators) -> Parts:
    """Returns the losses of the translation, by the names of `ImageWeights`, each summed over both modalities.

    images (B, 3, H, W), in -1 .. 1, and what becomes of them, by their modality; discriminators: of images of a
    modality. Means are over all elements; those of the adversary, (output - 1)^2, are summed over sizes.
    """
    each = [of_one(images[modality], cycles[modality], discriminators[modality.other]) for modality in CAPTURED]
    return {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}


def of_one(images: torch.Tensor, cycle: Cycle, discriminator: Callable[[torch.Tensor], Outputs]) -> Parts:
    return {
        "reconstruction": mean_absolute(cycle.reconstructed, images),
        "code": wide(cycle.code).square().mean(),
        "cycle": mean_absolute(cycle.cycled, images),
        "cycled_code": wide(cycle.cycled_code).square().mean(),
        "adversary": least_squares(discriminator(cycle.translated), 1.0),
    }


def discriminator_losses(images: Images, cycles: Cycles, discriminators: Discriminators) -> Parts:
    """Returns the loss of each, "MODALITY_discriminator": outputs of real images to 1, of translated ones to 0.

    Means are summed over sizes. It reaches the discriminators alone: translated images are detached.
    """
    losses = {}
    for modality in CAPTURED:
        discriminator, made = discriminators[modality], cycles[modality.other].translated.detach()
        real = least_squares(discriminator(images[modality]), 1.0)
        losses[f"{modality.key}_discriminator"] = real + least_squares(discriminator(made), 0.0)
    return losses
