"""The learned projection: from features of one modality to where both are compared, and the file it is kept in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pipeline.batch import Modality
from pipeline.evaluation.hcml.objective import Classes
from pipeline.evaluation.hcml.solver import minimize
from pipeline.files import replace_atomically

SIZE = 600  # features that the principal components leave, as in the authors' code

log = logging.getLogger("pipeline")


@dataclass(frozen=True)
class Projection:
    """Features x (n, D), visible or infrared, become (x / |x| - mean) basis (V P or T P).

    mean      (D,) of all training features, each of unit length
    basis     (D, d): their first principal components, d = min(SIZE, D, n - 1)
    visible   (d, d): V P
    infrared  (d, d): T P; all float64
    """

    mean: torch.Tensor
    basis: torch.Tensor
    visible: torch.Tensor
    infrared: torch.Tensor

    def function(self, device: torch.device) -> Callable[[torch.Tensor, Modality], torch.Tensor]:
        """Returns (features (n, D) float32 on the device, their captured modality) -> features (n, d) float32."""
        learned = {Modality.VISIBLE: self.visible, Modality.INFRARED: self.infrared}
        matrices = {modality: (self.basis @ own).to(device, torch.float32) for modality, own in learned.items()}
        mean = self.mean.to(device, torch.float32)
        return lambda features, modality: (torch.nn.functional.normalize(features) - mean) @ matrices[modality]

    def save(self, path: Path, facts: dict[str, str]) -> None:
        """Writes the file, with `facts` of what it was learned from in its header."""
        tensors = {name: tensor.contiguous() for name, tensor in vars(self).items()}
        replace_atomically(path, lambda unfinished: save_file(tensors, unfinished, facts))


def read_projection(path: Path, facts: dict[str, str]) -> Projection | None:
    """Returns the projection of a file; None where there is none yet, or one learned from something else than `facts`.

    None, too, with a warning, for a file that can't be read: it is then learned anew.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if file.metadata() != facts:
                return None
            return Projection(*(file.get_tensor(name) for name in Projection.__dataclass_fields__))
    except (SafetensorError, OSError) as error:
        log.warning(f"{path}: can't be read ({error}); it is learned anew")
        return None


def learn_projection(features: torch.Tensor, labels: torch.Tensor, infrared: torch.Tensor) -> Projection:
    """Returns the projection learned from the features (n, D) of training images.

    labels (n,) int64 from 0 to C - 1, C at least 2; infrared (n,) bool. Each identity has images of both modalities.
    """
    unit = torch.nn.functional.normalize(features.to("cpu", torch.float64))
    mean = unit.mean(dim=0)
    basis = principal_components(unit - mean)
    reduced, count = (unit - mean) @ basis, int(labels.max()) + 1
    classes = [Classes.of(reduced[own], labels[own], count) for own in (~infrared, infrared)]
    found = minimize(*classes)
    log.info(
        f"hcml: learned from {len(features)} images of {count} identities in {basis.shape[1]} dimensions; F_x "
        f"{found.course[0]:.4f} -> {found.course[-1]:.4f} in {len(found.course) - 1} iterations"
    )
    return Projection(mean, basis, found.visible, found.infrared)


def principal_components(centered: torch.Tensor) -> torch.Tensor:
    """Returns (D, d), d = min(SIZE, D, n - 1): orthonormal columns, the direction of the largest variance first."""
    rows, width = centered.shape
    _, vectors = torch.linalg.eigh(centered.T @ centered)  # in ascending order of the variance
    return vectors[:, -min(SIZE, width, rows - 1) :].flip(1)
