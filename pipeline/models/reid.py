"""The re-identification network: stems, shared body with its inserts, pooling, heads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from math import prod
from operator import add
from typing import NamedTuple, cast

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.generator import AS_IT_IS, generators_of
from pipeline.models.gray import take_one_channel, to_gray
from pipeline.models.heads import Feature, Head, HeadContext
from pipeline.models.inserts import Followed, copies_of
from pipeline.models.norm import norm_layers
from pipeline.models.pooling import Pooling
from pipeline.models.stems import build_stems, stem_keys, stems_by_base
from pipeline.models.taps import check_untapped
from pipeline.models.timm_model import Backbone
from pipeline.parts import HEADS, PartOptions, build_part
from pipeline.routing import apply_by_key, by_name, runs_of
from pipeline.settings import LearnedDerivation, StemDepth


class ReIDOutput(NamedTuple):
    """The network's output for B images: `features` by name, in the order of the heads.

    Where inserts multiply rows, each image has several versions. In training mode a feature has the B rows of the
    first, below them B of the second, and so on; in eval mode each has B rows: NAME, then NAME_1, ... of the others.
    """

    features: dict[str, Feature]

    @property
    def pooled(self) -> torch.Tensor:
        """(B, D) float32: all features before their BN neck, side by side."""
        return side_by_side([feature.pooled for feature in self.features.values()])

    @property
    def embedding(self) -> torch.Tensor:
        """(B, D) float32: all features after their BN neck, side by side."""
        return side_by_side([feature.embedding for feature in self.features.values()])

    @property
    def logits(self) -> torch.Tensor | None:
        """Those of the first feature."""
        return next(iter(self.features.values())).logits


def by_version(features: Mapping[str, Feature], copies: int) -> dict[str, Feature]:
    """Returns each version of tested features of `copies` B rows as one of B rows: NAME, NAME_1, ..."""
    divided: dict[str, Feature] = {}
    for name, feature in features.items():
        parts = feature.pooled.chunk(copies), feature.embedding.chunk(copies)
        versions = (Feature(*version, None) for version in zip(*parts, strict=True))
        divided |= dict(zip(names_of_versions(name, copies), versions, strict=True))
    return divided


def names_of_versions(name: str, copies: int) -> list[str]:
    return [name, *(f"{name}_{version}" for version in range(1, copies))]


def side_by_side(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class ReIDNetwork(nn.Module):
    """One feature space for all modalities (two-stream form of Ye et al., "AGW", with the stages shared).

    backbone             from `create_backbone`; it is taken apart and owned by this network
    modalities           those in use in training
    stems, stem_depth    "source", "modality" or "shared": see `stem_keys`; and how much they are: see `build_stems`
    gray                 True: the network sees `to_gray` of the images
    mean_stems           True: in eval mode the mean over the stems of a captured modality and what is derived from it
    identities           C, number of training identities
    heads                from the backbone's map to features, by name (`pipeline.models.heads`)
    pooling              of that map, used by all heads
    learned_derivations  derived modalities in use whose rows hold the *base* image, from which this network makes them
    derivation           how: see `pipeline.models.generator`
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        modalities: Sequence[Modality],
        stems: str,
        identities: int,
        heads: Mapping[str, PartOptions],
        pooling: Pooling,
        learned_derivations: Sequence[Modality] = (),
        derivation: LearnedDerivation = "x_modality",
        stem_depth: StemDepth = "stem",
        gray: bool = False,
        mean_stems: bool = False,
    ) -> None:
        super().__init__()
        _check(modalities, identities, learned_derivations)
        self.stem_of = stem_keys(stems, modalities)
        self.gray = gray
        if gray:
            take_one_channel(backbone)
        self.stems = build_stems(backbone, list(self.stem_of.values()), stem_depth)
        check_untapped(self.stems, stem_depth)
        self.averaged = stems_by_base(self.stem_of) if mean_stems else {}
        self.backbone = backbone
        self.pooling = pooling
        self.generator_of = {modality: modality.base.key for modality in learned_derivations}
        self.generators = generators_of(derivation, [*self.generator_of.values()])
        context = HeadContext(backbone.num_features, modalities, identities, pooling.kind)
        made = {name: build_part(HEADS, settings, f"heads.{name}", name, context) for name, settings in heads.items()}
        if not heads:
            raise ValueError("heads: expected one or more; found none")
        self.heads = by_name("heads", made)
        self.copies = self._count_copies()

    @property
    def origin(self) -> str:
        """The pre-trained weights it started from (`weights_origin`)."""
        return self.backbone.origin

    @property
    def widths(self) -> dict[str, int]:
        """D of each pooled feature, by name; further versions of it in eval mode are as wide."""
        return {name: width for head in self._heads() for name, width in head.widths.items()}

    @property
    def embedding_widths(self) -> dict[str, int]:
        """D of each embedding, by name, where it is another than that of the pooled feature."""
        return {name: width for head in self._heads() for name, width in getattr(head, "embedding_widths", {}).items()}

    @property
    def extra(self) -> dict[str, Sequence[str]]:
        """What its head makes of each feature beside pooled, embedding and logits, by name."""
        return {name: what for head in self._heads() for name, what in getattr(head, "extra", {}).items()}

    def forward(self, images: torch.Tensor, modality: torch.Tensor | Sequence[int]) -> ReIDOutput:
        """Returns the features of images (B, 3, H, W) of a float type, normalized, B >= 1.

        modality: B values of `Modality` on the host, an int64 CPU tensor or a sequence of int. Give the sequence to a
        model wrapped in DistributedDataParallel, which moves all tensors among its inputs to the device. The output's
        rows are in the order of the input's, in each version (`ReIDOutput`). Raises ValueError for a modality that no
        stem was built for.
        """
        rows, generator_runs, stem_runs = self._plan(modality)
        images = images.to(next(self.heads.parameters()).dtype)
        if generator_runs:
            images = self.generators(images, generator_runs)
        if self.gray:
            images = to_gray(images)
        stems = self._mean_stems() if self._averages else self.stems
        features = self.backbone.forward_features(apply_by_key(images, stem_runs, stems))
        made = [head(features, self.pooling, rows * self.copies) for head in self.heads.values()]
        found = {name: feature for of_head in made for name, feature in of_head.items()}
        return ReIDOutput(found if self.training or self.copies == 1 else by_version(found, self.copies))

    def head_parameters(self) -> list[nn.Parameter]:
        """Returns the trained parameters of the heads, which recipes give a learning rate of their own."""
        return [parameter for parameter in self.heads.parameters() if parameter.requires_grad]

    def pooling_parameters(self) -> list[nn.Parameter]:
        """Returns the power of the pooling where it is trained."""
        return [*self.pooling.parameters()]

    def pretrained_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """Returns the parameters of stems and backbone, without those of inserts, by the names in timm's model.

        Stems are copies of one, so several have its names.
        """
        added = {id(parameter) for insert in self._inserts() for parameter in insert.parameters()}
        parts = (*self.stems.values(), self.backbone)
        named = [one for part in parts for one in part.named_parameters() if id(one[1]) not in added]
        return [(re.sub(r"(\.module)+\.", ".", name), found) for name, found in named]  # of `Followed`, or of several

    def pretrained_norms(self) -> list[nn.Module]:
        """Returns the batch-norm layers of stems and backbone, without those of inserts."""
        added = {id(layer) for insert in self._inserts() for layer in norm_layers(insert)}
        return [layer for part in (self.stems, self.backbone) for layer in norm_layers(part) if id(layer) not in added]

    def freeze_unread(self, reads: Callable[[str, str], bool]) -> None:
        """Freezes layers of the heads whose output no loss looks at. `reads`: whether one does, of (feature, what)."""
        for head in self._heads():
            head.freeze_unread(reads)

    def _count_copies(self) -> int:
        """Returns how many versions of an image there are. Raises ValueError where they are made within a stem, or two
        features would have one name."""
        if any(isinstance(part, Followed) and copies_of(part.insert) > 1 for part in self.stems.modules()):
            raise ValueError(
                "stem_depth: an insert within the stems multiplies rows; expected stems that end before it"
            )
        copies = prod(copies_of(insert) for insert in self._inserts())
        names = [version for name in self.widths for version in names_of_versions(name, copies)]
        twice = next((name for name in self.widths if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"heads.{twice}: choose another name: a further version of another feature is called so")
        return copies

    def _inserts(self) -> list[nn.Module]:
        parts = (*self.stems.modules(), *self.backbone.modules())  # a stem with stages may hold some
        return [part.insert for part in parts if isinstance(part, Followed)]

    @property
    def _averages(self) -> bool:
        return bool(self.averaged) and not self.training

    def _mean_stems(self) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        return {base: partial(self._mean_map, stems) for base, stems in self.averaged.items()}

    def _mean_map(self, stems: Sequence[str], images: torch.Tensor) -> torch.Tensor:
        return reduce(add, (self.stems[stem](images) for stem in stems)) / len(stems)

    def _heads(self) -> Iterable[Head]:
        return cast("Iterable[Head]", self.heads.values())  # nn.ModuleDict has no type of its values

    @torch.compiler.disable  # reads values on the host; what follows is compiled for the runs that it found
    def _plan(
        self, modality: torch.Tensor | Sequence[int]
    ) -> tuple[list[Modality], list[tuple[str, int]], list[tuple[str, int]]]:
        """Returns each row's modality, and runs of rows by generator (none if no row needs one) and by stem, or by
        captured modality where stems are averaged."""
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
        stems = [found.base.key if self._averages else self.stem_of[found] for found in rows]
        return rows, generators, runs_of(stems)


def _check(modalities: Sequence[Modality], identities: int, learned_derivations: Sequence[Modality]) -> None:
    if not modalities or len(set(modalities)) != len(modalities):
        found = ", ".join(modality.key for modality in modalities) or "none"
        raise ValueError(f"modalities: expected one or more different ones; found {found}")
    if identities < 1:
        raise ValueError(f"identities: expected 1 or more; found {identities}")
    for modality in learned_derivations:
        if not modality.is_derived or modality not in modalities:
            raise ValueError(f"learned_derivations: expected derived modalities in use; found {modality.key}")
