"""The losses of D2RL's image level: of two variational autoencoders that translate both ways, and of their judges.

UNIT's (Liu et al., NeurIPS 2017) with least squares, in the form and with the weights of its later public code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

from pipeline.batch import Modality
from pipeline.losses.image_losses import Outputs, least_squares, mean_absolute
from pipeline.losses.term import Parts
from pipeline.models.image.unified import OTHER, Cycle
from pipeline.precision import wide
from pipeline.settings_key import key

Images = Mapping[Modality, torch.Tensor]
Cycles = Mapping[Modality, Cycle]
Judges = Mapping[Modality, Callable[[torch.Tensor], Outputs]]


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


def translation_losses(images: Images, cycles: Cycles, judges: Judges) -> Parts:
    """Returns the losses of the translation, by the names of `ImageWeights`, each summed over both modalities.

    images (B, 3, H, W), in -1 .. 1, and what becomes of them, by their modality; judges: of images of a modality. Means
    are over all elements; those of the adversary, (output - 1)^2, are summed over sizes.
    """
    each = [of_one(images[modality], cycles[modality], judges[OTHER[modality]]) for modality in OTHER]
    return {name: torch.stack([losses[name] for losses in each]).sum() for name in each[0]}


def of_one(images: torch.Tensor, cycle: Cycle, judge: Callable[[torch.Tensor], Outputs]) -> Parts:
    return {
        "reconstruction": mean_absolute(cycle.reconstructed, images),
        "code": wide(cycle.code).square().mean(),
        "cycle": mean_absolute(cycle.cycled, images),
        "cycled_code": wide(cycle.cycled_code).square().mean(),
        "adversary": least_squares(judge(cycle.translated), 1.0),
    }


def discriminator_losses(images: Images, cycles: Cycles, judges: Judges) -> Parts:
    """Returns the loss of each judge, "MODALITY_discriminator": outputs of real images to 1, of translated ones to 0.

    Means are summed over sizes. It reaches the judges alone: translated images are detached.
    """
    losses = {}
    for modality, other in OTHER.items():
        judge, made = judges[modality], cycles[other].translated.detach()
        real = least_squares(judge(images[modality]), 1.0)
        losses[f"{modality.key}_discriminator"] = real + least_squares(judge(made), 0.0)
    return losses
