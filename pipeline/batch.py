"""The data that flows through the system: the four modalities and a batch of their images. The first file to read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings are read without it, in a moment
    import torch


class Modality(IntEnum):
    """The modality that an image shows. Two are captured (the paper's base), two are derived from them (its
    derivatives).

    A captured image and its derivative share their label.
    """

    VISIBLE = 0
    INFRARED = 1
    VISIBLE_DERIVED = 2
    INFRARED_DERIVED = 3

    @classmethod
    def from_name(cls, name: str) -> Modality:
        """Returns `Modality.VISIBLE_DERIVED` for "visible_derived".

        Raises ValueError, which names the four names there are.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            raise ValueError(f"modality: expected one of {', '.join(MODALITY_NAMES)}; found {name!r}") from None

    @property
    def key(self) -> str:
        """The name used in configs, metrics and results."""
        return self.name.lower()

    @property
    def is_derived(self) -> bool:
        return self in (Modality.VISIBLE_DERIVED, Modality.INFRARED_DERIVED)

    @property
    def other(self) -> Modality:
        """The captured modality that this one isn't of."""
        return Modality.INFRARED if self.base is Modality.VISIBLE else Modality.VISIBLE

    @property
    def base(self) -> Modality:
        """The captured modality that this one is, or is derived from."""
        return Modality.VISIBLE if self in (Modality.VISIBLE, Modality.VISIBLE_DERIVED) else Modality.INFRARED


CAPTURED = (Modality.VISIBLE, Modality.INFRARED)
MODALITY_NAMES = tuple(modality.key for modality in Modality)


@dataclass(frozen=True)
class Batch:
    """B rows; a row is an image of one modality.

    A derived row repeats its source's index, label, identity and camera and differs in modality. `modality` is host
    data: it decides which rows go through which layers without waiting for the device.

    images   (B, 3, H, W) float32, float16 or bfloat16, normalized
    label    (B,) int64, 0 .. number of training identities - 1
    identity (B,) int64, the data set's own number of the person
    camera   (B,) int64, the data set's own number of the camera
    modality B ints, values of `Modality`; rows of a modality stand together
    index    (B,) int64, row of the data set's index
    replaced number of captured images that stand in for one that can't be decoded
    """

    images: torch.Tensor
    label: torch.Tensor
    identity: torch.Tensor
    camera: torch.Tensor
    modality: tuple[int, ...]
    index: torch.Tensor
    replaced: int = 0

    def __len__(self) -> int:
        return len(self.images)
