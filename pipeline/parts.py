"""Parts of a method that a configuration names: loss terms, heads, inserts, and the kinds of methods themselves.

A part is a class with a frozen dataclass `Options` of its own, whose fields are its keys in a configuration. It is
known by a name in one of the tables below, or by `module:Class` for a part outside of this project. A new part is one
file and one line here.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.settings_key import key
from pipeline.text import nearest


@dataclass(frozen=True)
class PartOptions:
    """The options of every part: the name of its class. Parts add their own, each made by `settings_key.key`."""

    type: str = key("", "name in pipeline/parts.py, or module:Class")


@dataclass(frozen=True)
class PartTable:
    """`places`: name -> `module:Class`; `kind`: what the parts are, for messages; `base`: the class they derive from,
    as `module:Class`, where they have one in common."""

    kind: str
    places: dict[str, str]
    base: str | None = None

    def find(self, name: str) -> type[Any]:
        """Returns the class called `name`. Raises ValueError where there is none, with the nearest name."""
        place = self.places.get(name, name) if isinstance(name, str) else ""
        if ":" not in place:
            known, hint = ", ".join(self.places), nearest(str(name), self.places)
            raise ValueError(f"expected a {self.kind} among {known}, or module:Class; found {name!r}{hint}")
        try:
            found: Any = imported(place)
            base = imported(self.base) if self.base else object
        except Exception as error:  # whatever is wrong with a user's module
            raise ValueError(
                f"the {self.kind} {name!r} can't be imported ({type(error).__name__}: {error}); start where its module "
                "can be imported, or set PYTHONPATH"
            ) from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise ValueError(f"expected a {self.kind}, a class derived from {self.base}; found {name!r}")
        options = getattr(found, "Options", None)
        if not dataclasses.is_dataclass(options):
            raise ValueError(f"expected a {self.kind} with a dataclass Options; found {name!r}")
        for field in dataclasses.fields(options):
            if "help" not in field.metadata:
                raise ValueError(f"{name}: Options.{field.name}: declare it by `pipeline.settings_key.key`")
        return found

    def options_of(self, value: Any, name: str = "") -> PartOptions:
        """Returns the typed options of a mapping of a configuration; `name` is its type if it gives none.

        Raises ValueError, which begins with the key within the mapping, for an unknown type or key, or a wrong value.
        """
        if isinstance(value, PartOptions):
            return value
        if not isinstance(value, dict):
            raise ValueError(f"expected the keys of a {self.kind}; found {value!r}")
        kind = value.get("type") or name
        try:
            options = self.find(kind).Options
        except ValueError as error:
            raise ValueError(f"type: {error}") from None
        known = [field.name for field in dataclasses.fields(options)]
        for key_ in value:
            if key_ not in known:
                raise ValueError(f"{key_}: no key of the {self.kind} {kind}{nearest(key_, known)}")
        return typed(options, {"type": kind} | {k: v for k, v in value.items() if k != "type"})


def imported(place: str) -> Any:
    """Returns what stands at `module:name`. Raises whatever importing it raises."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def located(where: str, error: Exception) -> ValueError:
    """Returns the error with the key it is about: `where`, and the argument that its message begins with, if any."""
    separator = "." if re.match(r"\w+(\.\w+)*: ", str(error)) else ": "
    return ValueError(f"{where}{separator}{error}")


def typed(options: type[PartOptions], values: dict[str, Any]) -> PartOptions:
    """Returns `options` with the values, each of its field's type. Raises ValueError, which begins with the key."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(options)}
    for name, value in values.items():
        if kinds[name].startswith("dict") and not isinstance(value, dict):
            raise ValueError(f"{name}: expected names with values; found {value!r}")
    lists = [name for name, kind in kinds.items() if kind.startswith("list[str]")]
    values = {name: [value] if name in lists and isinstance(value, str) else value for name, value in values.items()}
    try:
        made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(options), values))
    except OmegaConfBaseException as error:
        raise ValueError(f"{error.full_key}: {reason_of(error)}") from None
    assert isinstance(made, options)
    return made


def reason_of(error: OmegaConfBaseException) -> str:
    """Returns the message of an OmegaConf error, in one line."""
    reason = str(error.msg or error).splitlines()[0]
    # OmegaConf leaves its placeholders in when an element of a tuple is wrong
    return "a value of the wrong type in a list" if "$VALUE" in reason else reason


METHODS = PartTable(
    "method",
    {
        "one_objective": "pipeline.methods.one_objective:OneObjective",
        "decorrelation": "pipeline.methods.decorrelation:Decorrelation",
        "aligngan": "pipeline.methods.aligngan:AlignGAN",
        "jsia": "pipeline.methods.jsia:JSIA",
        "d2rl": "pipeline.methods.d2rl:D2RL",
        "hicmd": "pipeline.methods.hicmd:HiCMD",
    },
    "pipeline.methods.method:Method",
)

LOSSES = PartTable(
    "loss term",
    {
        "identity": "pipeline.losses.identity:IdentityLoss",
        "intra": "pipeline.losses.intra:IntraModalityLoss",
        "cross": "pipeline.losses.cross:CrossModalityLoss",
        "collaborative": "pipeline.losses.collaborative:CollaborativeLoss",
        "views": "pipeline.losses.views:ViewLoss",
        "adversary": "pipeline.losses.adversary:AdversaryLoss",
        "weighted_triplet": "pipeline.losses.weighted_triplet:WeightedTripletLoss",
        "center_triplet": "pipeline.losses.center_triplet:CenterTripletLoss",
        "bidirectional_ranking": "pipeline.losses.bidirectional_ranking:BidirectionalRankingLoss",
        "hetero_center_triplet": "pipeline.losses.hetero_center_triplet:HeteroCenterTripletLoss",
        "center_ranking": "pipeline.losses.center_ranking:CenterRankingLoss",
        "distribution_consistency": "pipeline.losses.distribution_consistency:DistributionConsistencyLoss",
        "contrastive": "pipeline.losses.contrastive:ContrastiveLoss",
        "triplet": "pipeline.losses.triplet:TripletLoss",
        "center_distance": "pipeline.losses.center_distance:CenterDistanceLoss",
        "quadruple_center": "pipeline.losses.quadruple_center:QuadrupleCenterLoss",
        "cpm": "pipeline.losses.cpm:CPMLoss",
        "orthogonality": "pipeline.losses.orthogonality:OrthogonalityLoss",
        "weak_to_strong": "pipeline.losses.weak_to_strong:WeakToStrongLoss",
        "center_cluster": "pipeline.losses.center_cluster:CenterClusterLoss",
        "modality_learning": "pipeline.losses.modality_learning:ModalityLearningLoss",
        "mask_separation": "pipeline.losses.mask_separation:MaskSeparationLoss",
    },
    "pipeline.losses.term:LossTerm",
)

HEADS = PartTable(
    "head",
    {
        "bnneck": "pipeline.models.heads:BNNeckHead",
        "stripes": "pipeline.models.heads:StripesHead",
        "embedding": "pipeline.models.embedding_head:EmbeddingHead",
        "patterns": "pipeline.models.patterns:PatternsHead",
    },
)

INSERTS = PartTable(
    "insert",
    {
        "non_local": "pipeline.models.non_local:NonLocal",
        "mfa": "pipeline.models.mfa:MFA",
        "dee": "pipeline.models.dee:DEE",
        "mam": "pipeline.models.mam:MAM",
        "mimb": "pipeline.models.mimb:MIMB",
    },
)


def build_part(table: PartTable, options: PartOptions, where: str, *arguments: Any) -> Any:
    """Builds a part from its `options` and `arguments`.

    A ValueError of the part, which names its own argument, is raised again with the key: `where`.<argument>.
    """
    try:
        return table.find(options.type)(options, *arguments)
    except ValueError as error:
        raise located(where, error) from None
    except Exception as error:
        error.add_note(f"while {where} was built")
        raise
