"""Cases of the files in tests/fixtures/published, and quantities: a value of theirs with our function for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch

FILES = Path(__file__).parents[1] / "fixtures" / "published"
VISIBLE, INFRARED, SECOND_VISIBLE, SECOND_INFRARED = range(4)  # in `modality` of the files


@cache
def read(file: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name."""
    return dict(np.load(FILES / f"{file}.npz").items())


@dataclass(frozen=True)
class Case:
    """One case of a file: what begins with its prefix (`case0_`; nothing where a file has a single case)."""

    file: str
    prefix: str
    trained: dict[str, torch.Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> torch.Tensor:
        """Returns an array: with a gradient where one is asked for, the same tensor each time."""
        found = torch.from_numpy(read(self.file)[f"{self.prefix}{name}"])
        return self.trained.get(name, found)

    def of(self, modality: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns features and labels of the rows of a modality."""
        chosen = self["modality"] == modality
        return self["features"][chosen], self["labels"][chosen]

    def __str__(self) -> str:
        return f"{self.file}-{self.prefix.rstrip('_') or 'alone'}"


@dataclass(frozen=True)
class Quantity:
    """A value of a file and our function for it.

    name       of the value in the file, without the prefix of a case
    ours       case -> the value
    gradients  name of a gradient of the value's sum in the file -> name of the array it is with respect to
    of         value -> what the gradients are of; None: the value itself
    """

    file: str
    name: str
    ours: Callable[[Case], torch.Tensor]
    gradients: dict[str, str]
    of: Callable[[torch.Tensor], torch.Tensor] | None = None
    tolerance: float = 1e-9

    def cases(self) -> list[Case]:
        """Returns the cases that have the value and what it is of."""
        prefixes = [name.removesuffix(self.name) for name in read(self.file) if name.endswith(self.name)]
        needed = [*self.gradients, *self.gradients.values()]
        return [
            Case(self.file, prefix)
            for prefix in prefixes
            if (not prefix or prefix.endswith("_")) and all(f"{prefix}{name}" in read(self.file) for name in needed)
        ]

    def deviations(self, case: Case) -> tuple[float, float]:
        """Returns the relative deviations of our value and of its gradients; 0 for none."""
        trained = {name: case[name].clone().requires_grad_() for name in self.gradients.values()}
        case = Case(case.file, case.prefix, trained)
        value = self.ours(case)
        found = value if self.of is None else self.of(value)
        gradients = torch.autograd.grad(found, list(trained.values())) if trained else ()
        apart = [deviation(gradient, case[name]) for gradient, name in zip(gradients, self.gradients, strict=True)]
        return deviation(value.detach(), case[self.name]), max(apart, default=0.0)


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Returns the largest difference, relative to the largest number; absolute where all are 0."""
    assert found.shape == expected.shape, f"expected the shape {tuple(expected.shape)}; found {tuple(found.shape)}"
    largest = expected.abs().max().item()
    return (found - expected).abs().max().item() / (largest or 1.0)


def features_gradient(name: str) -> dict[str, str]:
    return {f"{name}__grad": "features"}


def of_features(file: str, name: str, ours: Callable[[Case], torch.Tensor]) -> Quantity:
    return Quantity(file, name, ours, features_gradient(name))
