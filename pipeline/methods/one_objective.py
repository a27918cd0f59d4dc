"""One network, one objective: the kind of method that combines stems, inserts, heads and loss terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from pipeline.batch import Batch
from pipeline.loading.derivations import modalities_in_use
from pipeline.losses.objective import Objective, build_objective
from pipeline.losses.term import FEATURES, LossContext, Parts, Rows
from pipeline.methods.method import Method, Share
from pipeline.methods.network import build_network, with_pooling
from pipeline.methods.table_4 import ticks
from pipeline.models.heads import Feature
from pipeline.models.parameter_groups import network_groups, never_decayed, split_by_decay
from pipeline.models.reid import ReIDNetwork
from pipeline.optimization import ParameterGroup
from pipeline.precision import wide
from pipeline.settings import Settings
from pipeline.settings_key import key


class OneObjective(Method):
    """`network` is tested; `objective` has the loss terms and their parameters."""

    @dataclass(frozen=True)
    class Options(Method.Options):
        mining: Literal["global", "local"] = key(
            "global", "terms that compare rows get those of all ranks, or each rank's own, without an exchange"
        )

    def __init__(self, network: ReIDNetwork, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> OneObjective:
        network = build_network(settings, identities, weights)
        used = tuple(modalities_in_use(settings))
        widths, embedding_widths = network.widths, network.embedding_widths
        context = LossContext(used, identities, widths, embedding_widths, versions=network.copies, extra=network.extra)
        mining = settings.method.mining
        objective = build_objective(settings.losses, context, mining, share.identities, share.rank)
        unread = [name for name in network.widths if not any(objective.reads(name, what) for what in FEATURES)]
        if unread:  # it would stay as random as it began, in a feature that is tested
            raise ValueError(
                f"losses: none looks at the feature {unread[0]}: add it to the features of one, or drop its head"
            )
        for name in network.embedding_widths:  # likewise a layer between the pooled feature and its embedding
            if not any(objective.reads(name, what) for what in ("embedding", "logits")):
                raise ValueError(f"heads.{name}: no loss looks at what its layer makes; give it none: connected=false")
        network.freeze_unread(objective.reads)
        return cls(network, objective)

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> ReIDNetwork:
        return build_network(settings, identities, weights)

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        return with_pooling(super().resolved(settings, resumed), resumed)

    def begin_step(self, step: int, steps_per_epoch: int) -> None:
        for term in self.objective.terms.values():
            term.begin_step(step, steps_per_epoch)

    def training_step(self, batch: Batch) -> Parts:
        output = self.network(batch.images, batch.modality)
        # features are compared in float32 or wider, whatever the products before were computed in
        with torch.autocast(batch.images.device.type, enabled=False):
            return self.objective(rows_of_features(output.features, batch))

    def parameter_groups(self, settings: Settings) -> list[ParameterGroup]:
        optimizer = settings.optimizer
        groups = network_groups(self.network, optimizer)
        for name, term in self.objective.terms.items():
            groups.append({"name": f"losses.{name}", **term.parameter_group(optimizer.lr)})
        if not optimizer.decay_norm_bias:
            groups = split_by_decay(groups, never_decayed(self.named_parameters(), self.network))
        return [group for group in groups if group["params"]]

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [parameter for _, parameter in self.network.pretrained_parameters()]

    def pretrained_norms(self) -> list[nn.Module]:
        return self.network.pretrained_norms()

    @property
    def tested(self) -> nn.Module:
        return self.network

    @classmethod
    def columns(cls, settings: Settings) -> dict[str, bool]:
        return ticks(settings)


def rows_of_features(features: Mapping[str, Feature], batch: Batch) -> dict[str, Rows]:
    """Returns what loss terms may read of each feature of a batch, with all versions of its images."""
    versions = len(next(iter(features.values())).pooled) // len(batch)
    labels, camera = (part if versions == 1 else part.repeat(versions) for part in (batch.label, batch.camera))
    version = torch.arange(versions, device=labels.device).repeat_interleave(len(batch))
    modality = batch.modality * versions
    rows = {}
    for name, feature in features.items():
        parts = {what: wide(getattr(feature, what)) for what in FEATURES}
        parts |= {what: wide(part) for what, part in feature.extra.items()}
        rows[name] = Rows(parts | {"camera": camera, "version": version}, labels, modality)
    return rows
