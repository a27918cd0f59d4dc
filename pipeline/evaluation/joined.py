"""What a network says of an image, joined to the one feature that is compared: `evaluation.feature`, `similarity`.

Vectors of unit length side by side have the sum of their cosines as inner product; so sums of similarity matrices, as
of heads, stripes, or features before and after their neck, need no code of their own where features are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from pipeline.models.reid import ReIDOutput, side_by_side
from pipeline.settings import EvaluationSettings


@dataclass(frozen=True)
class Joining:
    """The parts of an output that are compared, and how they become one feature.

    kinds     fields of `Feature`
    by_name   whether each feature of the network is a part of its own, of unit length, and not all together
    """

    kinds: Sequence[str]
    by_name: bool

    @classmethod
    def of(cls, evaluation: EvaluationSettings) -> Joining:
        kinds = ("pooled", "embedding") if evaluation.feature == "both" else (evaluation.feature,)
        return cls(kinds, evaluation.similarity == "summed")

    def parts(self, output: ReIDOutput) -> list[torch.Tensor]:
        """Returns the parts (B, D) float32 of B images."""
        if not self.by_name:
            return [getattr(output, kind).float() for kind in self.kinds]
        return [normalize(getattr(one, kind).float()) for kind in self.kinds for one in output.features.values()]

    def join(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Returns the feature (B, D) of parts, which may be means over the views of an image."""
        if not self.by_name and len(parts) > 1:
            parts = [normalize(part) for part in parts]
        return side_by_side(parts)
