"""Parameter groups: how fast each part of a network learns, and what of it decays, by timm's rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import timm.optim
from torch import nn

from pipeline.models.reid import ReIDNetwork
from pipeline.models.timm_model import Backbone
from pipeline.optimization import ParameterGroup
from pipeline.settings import OptimizerSettings

NamedParameter = tuple[str, nn.Parameter]


class TimmView:
    """What timm's functions ask of a model whose parameters they group: here of any that are named as in `backbone`."""

    def __init__(self, parameters: Iterable[NamedParameter], backbone: Backbone) -> None:
        self.parameters, self.backbone = [*parameters], backbone

    def named_parameters(self) -> Iterator[NamedParameter]:
        return iter(self.parameters)

    def group_matcher(self, coarse: bool = False) -> Any:
        return self.backbone.group_matcher(coarse=coarse)


def network_groups(network: ReIDNetwork, settings: OptimizerSettings) -> list[ParameterGroup]:
    """Returns the trained parameters of a network: "backbone" with the stems, in groups "backbone.layer_N" where its
    layers learn at different rates; "derivations" where these have a rate of their own; "heads"; "heads_pooling", the
    trained power of gem. Some may be empty.

    Raises ValueError naming the key for a backbone whose layers timm doesn't know.
    """
    heads, pooling = network.head_parameters(), network.pooling_parameters()
    derivations = [*network.generators.parameters()]
    apart = {id(parameter) for parameter in (*heads, *pooling)}
    groups = []
    if settings.derivation_lr_mult is not None:
        apart |= {id(parameter) for parameter in derivations}
        lr = settings.lr * settings.derivation_lr_mult
        groups.append({"name": "derivations", "params": derivations, "lr": lr, "weight_decay": 0.0})
    rest = [found for found in network.parameters() if found.requires_grad and id(found) not in apart]
    rate, scale_of = settings.lr * settings.backbone_lr_mult, layer_scales(network, settings.layer_decay)
    return [
        *layer_groups(rest, rate, scale_of),
        *groups,
        {"name": "heads", "params": heads, "lr": settings.lr * settings.heads_lr_mult},
        # the power of gem learns as the heads do, but nothing should draw it towards 0
        {"name": "heads_pooling", "params": pooling, "lr": settings.lr * settings.heads_lr_mult, "weight_decay": 0.0},
    ]


def layer_groups(
    parameters: list[nn.Parameter], lr: float, scale_of: dict[nn.Parameter, float]
) -> Iterator[ParameterGroup]:
    """Yields the backbone's groups, from the first layer to the last; then what is new in it: inserts, derivations."""
    for number, scale in enumerate(sorted(set(scale_of.values()))):
        layer = [parameter for parameter in parameters if scale_of.get(parameter) == scale]
        yield {"name": f"backbone.layer_{number}", "params": layer, "lr": lr * scale}
    new = [parameter for parameter in parameters if parameter not in scale_of]
    yield {"name": "backbone", "params": new, "lr": lr}


def layer_scales(network: ReIDNetwork, layer_decay: float) -> dict[nn.Parameter, float]:
    """Returns the factor of the backbone's rate by trained parameter of its layers and of the stems, which are the
    first layer: 1 for the last layer that timm counts (a ConvNeXt's is its unused head norm), `layer_decay` times the
    next one's for the others. None where all learn alike.

    By timm's function, after Bao et al., "BEiT", ICLR 2022.
    """
    if layer_decay == 1:
        return {}
    if not hasattr(network.backbone, "group_matcher"):
        name = type(network.backbone).__name__
        raise ValueError(f"optimizer.layer_decay: timm doesn't know the layers of {name}; set it to 1")
    view: Any = TimmView(network.pretrained_parameters(), network.backbone)
    groups = timm.optim.param_groups_layer_decay(view, layer_decay=layer_decay)
    return {parameter: group["lr_scale"] for group in groups for parameter in group["params"]}


def never_decayed(parameters: Iterable[NamedParameter], network: ReIDNetwork) -> set[nn.Parameter]:
    """Returns those of the trained parameters that timm keeps from weight decay: one-dimensional ones, biases, and
    what the network's timm model names, such as position embeddings and class tokens."""
    timm_name = {parameter: name for name, parameter in network.pretrained_parameters()}
    named = [(timm_name.get(parameter, name), parameter) for name, parameter in parameters]
    view: Any = TimmView(named, network.backbone)
    listed = network.backbone.no_weight_decay() if hasattr(network.backbone, "no_weight_decay") else ()
    groups = timm.optim.param_groups_weight_decay(view, weight_decay=1.0, no_weight_decay_list=listed)
    return {parameter for group in groups if not group["weight_decay"] for parameter in group["params"]}


def split_by_decay(groups: Iterable[ParameterGroup], undecayed: set[nn.Parameter]) -> list[ParameterGroup]:
    """Returns the groups with those of their parameters in groups of their own, NAME.no_decay, that don't decay.

    A group that says itself how it decays stays whole. Some may be empty.
    """
    split = []
    for group in groups:
        if "weight_decay" in group:
            split.append(group)
            continue
        decayed, spared = ([p for p in group["params"] if (p in undecayed) is out] for out in (False, True))
        split.append(group | {"params": decayed})
        split.append(group | {"params": spared, "name": f"{group['name']}.no_decay", "weight_decay": 0.0})
    return split
