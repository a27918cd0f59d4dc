"""The re-identification network: stems, shared body, pooling, batch-norm neck, classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.generator import ModalityGenerator
from pipeline.models.pooling import pooling_for
from pipeline.models.routing import apply_by_key, runs_of
from pipeline.models.stems import build_stems, stem_keys

AS_IT_IS = "as_it_is"


class ReIDOutput(NamedTuple):
    """What the network says of B images; D is the backbone's width, C the number of training identities.

    pooled     (B, D) float32, before the neck: for the metric losses
    embedding  (B, D) float32, after the neck: for retrieval
    logits     (B, C), of autocast's type under autocast; None in eval mode, where the classifier is not needed
    """

    pooled: torch.Tensor
    embedding: torch.Tensor
    logits: torch.Tensor | None


class ReIDNetwork(nn.Module):
    """One feature space for all modalities (two-stream form of Ye et al., "AGW", with the stages shared).

    backbone             from `create_backbone`; it is taken apart and owned by this network
    modalities           those in use in training
    stems                "source", "modality" or "shared": see `stem_keys`
    identities           C, number of training identities
    pooling, pool_power  "gem" or "average"; power of gem
    learned_derivations  derived modalities in use whose rows hold the *base* image and go through a
                         `ModalityGenerator`, one for each

    The neck's bias stays 0 and the classifier has none (Luo et al., "Bag of Tricks", 2019).
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        modalities: Sequence[Modality],
        stems: str,
        identities: int,
        pooling: str,
        pool_power: float,
        learned_derivations: Sequence[Modality] = (),
    ) -> None:
        super().__init__()
        _check(modalities, identities, learned_derivations)
        self.stem_of = stem_keys(stems, modalities)
        self.stems = build_stems(backbone, list(self.stem_of.values()))
        self.backbone = backbone
        self.pooling = pooling_for(backbone, pooling, pool_power)
        self.generators = nn.ModuleDict({modality.base.key: ModalityGenerator() for modality in learned_derivations})
        self.generator_of = {modality: modality.base.key for modality in learned_derivations}
        if learned_derivations:
            self.generators[AS_IT_IS] = nn.Identity()
        self.neck = nn.BatchNorm1d(backbone.num_features)
        self.classifier = nn.Linear(backbone.num_features, identities, bias=False)
        nn.init.ones_(self.neck.weight)
        nn.init.zeros_(self.neck.bias)
        self.neck.bias.requires_grad_(False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, images: torch.Tensor, modality: torch.Tensor | Sequence[int]) -> ReIDOutput:
        """images (B, 3, H, W) of a float type, normalised; modality: B values of `Modality` on the host; B >= 1.

        modality is an int64 CPU tensor or a sequence of int. Give the sequence to a model wrapped in
        DistributedDataParallel, which moves all tensors among its inputs to the device. The output's rows are in the
        order of the input's. ValueError: a modality that no stem was built for.
        """
        generator_runs, stem_runs = self._plan(modality)
        images = images.to(self.neck.weight.dtype)
        if generator_runs:
            images = apply_by_key(images, generator_runs, self.generators)
        features = self.backbone.forward_features(apply_by_key(images, stem_runs, self.stems))
        pooled = self.pooling(features)
        embedding = self.neck(pooled)
        return ReIDOutput(pooled, embedding, self.classifier(embedding) if self.training else None)

    def head_parameters(self) -> list[nn.Parameter]:
        """Trained parameters of neck and classifier, which recipes give a learning rate of their own."""
        head = [*self.neck.parameters(), *self.classifier.parameters()]
        return [parameter for parameter in head if parameter.requires_grad]

    @torch.compiler.disable  # reads values on the host; what follows is compiled for the runs that it found
    def _plan(self, modality: torch.Tensor | Sequence[int]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Runs of rows by generator (none if no row needs one) and by stem."""
        if isinstance(modality, torch.Tensor):
            assert modality.device.type == "cpu", "modality must stay on the host: reading it from a device would wait"
            modality = modality.tolist()
        rows = [Modality(value) for value in modality]
        unknown = next((found for found in rows if found not in self.stem_of), None)
        if unknown is not None:
            known = ", ".join(found.key for found in self.stem_of)
            raise ValueError(f"modality: {unknown.key} rows, but the model has stems for {known} only")
        generators = runs_of([self.generator_of.get(found, AS_IT_IS) for found in rows])
        if all(key == AS_IT_IS for key, _ in generators):
            generators = []
        return generators, runs_of([self.stem_of[found] for found in rows])


def _check(modalities: Sequence[Modality], identities: int, learned_derivations: Sequence[Modality]) -> None:
    if not modalities or len(set(modalities)) != len(modalities):
        found = ", ".join(modality.key for modality in modalities) or "none"
        raise ValueError(f"modalities: expected one or more different ones; found {found}")
    if identities < 1:
        raise ValueError(f"identities: expected 1 or more; found {identities}")
    for modality in learned_derivations:
        if not modality.is_derived or modality not in modalities:
            raise ValueError(f"learned_derivations: expected derived modalities in use; found {modality.key}")
