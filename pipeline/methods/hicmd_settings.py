"""Hi-CMD's weights, and what it can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.methods.game import ImageBatch
from pipeline.models.image.prototype import SHRINKING
from pipeline.settings import Settings
from pipeline.settings_key import key


@dataclass(frozen=True)
class Weights:
    """Of the losses; images are compared in normalized levels."""

    same: float = key(50.0, "images decoded from their own prototype", min=0)
    cross: float = key(50.0, "images decoded from the prototype of the other modality", min=0)
    cycle: float = key(50.0, "images decoded from the prototype of a cross image", min=0)
    attributes: float = key(10.0, "attributes of cross images", min=0)
    excluded: float = key(1.0, "squares of pose and illumination", min=0)
    adversarial: float = key(20.0, "discriminators, for both sides", min=0)
    identity: float = key(1.0, "cross-entropy", min=0)
    triplet: float = key(1.0, "triplet losses of both modalities", min=0)


def check_settings(settings: Settings) -> None:
    """Raises ValueError naming a key that Hi-CMD doesn't heed, or that its networks can't have."""
    name, pooling = settings.method.name, settings.model.pooling
    if settings.method.image_batch != ImageBatch():
        raise ValueError(f"method.image_batch: leave it out for the method {name}; `batch` gives the sizes")
    if pooling != "average":
        raise ValueError(f"model.pooling: expected average for the method {name}; found {pooling}")
    check_sizes(settings.augment.height, settings.augment.width, settings.method.dilations, settings.method.scales)


def check_sizes(height: int, width: int, dilations: list[int], scales: int) -> None:
    """Raises ValueError naming a key where images don't fit the networks, which mirror the edges of their maps."""
    size, smaller = f"{height} x {width}", min(height, width)
    if height % SHRINKING or width % SHRINKING:
        raise ValueError(f"augment.height, augment.width: expected multiples of {SHRINKING}; found {size}")
    side, largest = smaller // SHRINKING, max(dilations, default=0)
    if largest >= side:
        raise ValueError(
            f"method.dilations: expected less than {side}, the smaller side of a prototype of {size}; found {largest}"
        )
    if smaller < 2 * SHRINKING << scales - 1:  # two places are left of the smallest size
        raise ValueError(f"method.scales: expected fewer sizes of images of {size}; found {scales}")
