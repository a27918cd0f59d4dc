"""Which modalities a term of the loss looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.losses.term import FeatureTerm, LossContext
from pipeline.settings_key import key


class ModalitiesTerm(FeatureTerm):
    """The base of terms that compare the rows of several modalities: `modalities`, in use and each once."""

    @dataclass(frozen=True)
    class Options(FeatureTerm.Options):
        modalities: list[str] | None = key(
            None, "modalities compared with each other; null: all in batch.modalities", choices=MODALITY_NAMES
        )

    settings: Options

    def __init__(self, settings: Options, context: LossContext) -> None:
        super().__init__(settings, context)
        self.modalities = modalities_chosen(settings.modalities, settings.weight, context)


def modalities_chosen(names: Sequence[str] | None, weight: float, context: LossContext) -> tuple[Modality, ...]:
    """Returns the modalities that a term's option `modalities` names; those in use where it is None.

    Raises ValueError where one is unknown, not in use or there twice, or where a term with a weight has none.
    """
    modalities = context.modalities if names is None else tuple(modalities_of("modalities", names))
    check_in_use("modalities", modalities, context)
    if weight and not modalities:
        raise ValueError("modalities: expected one or more; found none (weight 0 switches the term off)")
    return modalities


def check_in_use(argument: str, modalities: Sequence[Modality], context: LossContext) -> None:
    """Raises ValueError where one of `modalities` isn't in use, or is given twice."""
    for modality in modalities:
        if modality not in context.modalities:
            used = ", ".join(used.key for used in context.modalities)
            raise ValueError(f"{argument}: {modality.key} is not in use; in use: {used}")
    if len(set(modalities)) != len(modalities):
        raise ValueError(f"{argument}: each modality once; found {', '.join(found.key for found in modalities)}")


def modalities_of(argument: str, names: Sequence[str]) -> list[Modality]:
    """Returns the modalities of these names. Raises ValueError beginning with the argument where one is unknown."""
    try:
        return [Modality.from_name(name) for name in names]
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
