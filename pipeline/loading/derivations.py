"""From the derivations that a configuration names to what the graphs make."""

from __future__ import annotations

from collections.abc import Sequence

from dali_ops.decode import CHANNELS
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage, channels_after, check_tiles
from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.settings import Settings
from pipeline.text import nearest

LEARNED = "learned"  # the derivation that the network makes itself; its rows leave the loader as the captured image


def modalities_in_use(settings: Settings) -> list[Modality]:
    """Returns the modalities trained on, in the order of `Modality`."""
    return sorted(Modality.from_name(name) for name in settings.batch.modalities)


def views_in_use(settings: Settings) -> dict[Modality, View]:
    """Returns what the images of each modality in use show, in the order of `Modality`. Raises as `derivations`."""
    stages = derivations(settings)
    mixing = None if settings.derive.mixing == "none" else settings.derive.mixing
    views = {}
    for modality in modalities_in_use(settings):
        made = stages.get(modality)
        views[modality] = View(modality.base.key)
        if made:
            views[modality] = View(modality.base.key, made, mixing, settings.derive.mixing_probability)
    return views


def derivations(settings: Settings) -> dict[Modality, tuple[Stage, ...] | None]:
    """Returns the stages of each derived modality in use; None where the network derives it itself (learned).

    Raises ValueError naming the key for a derivation that doesn't exist or that can't be applied there, or not in that
    size.
    """
    chosen = {
        Modality.VISIBLE_DERIVED: ("derive.visible", settings.derive.visible),
        Modality.INFRARED_DERIVED: ("derive.infrared", settings.derive.infrared),
    }
    stages: dict[Modality, tuple[Stage, ...] | None] = {}
    for modality, (key, texts) in chosen.items():
        try:
            made = None if texts == [LEARNED] else parse_stages(texts, CHANNELS[modality.base.key])
            check_tiles(made or (), settings.augment.height, settings.augment.width)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
        if modality.key in settings.batch.modalities:
            stages[modality] = made
    return stages


def parse_stages(texts: Sequence[str], channels: int) -> tuple[Stage, ...]:
    """Returns the stages of `["weighted_gray", "gamma:0.5"]`, from an image of `channels`; each can follow the one
    before it.

    Raises ValueError for a derivation that doesn't exist or that can't be applied there, and for an impossible
    probability.
    """
    if not texts:
        raise ValueError("expected one derivation or more (identity changes nothing); found none")
    stages: list[Stage] = []
    for text in texts:
        name, _, probability = text.partition(":")
        suitable = [known for known, it in DERIVATIONS.items() if it.takes in (None, channels)]
        if name not in suitable:
            hint = "; learned stands alone" if name == LEARNED else nearest(name, suitable)
            of = f"of an image of {channels} channel{'s' * (channels > 1)}"
            raise ValueError(f"expected one of {', '.join(suitable)} ({of}); found {name!r}{hint}")
        stages.append(Stage(DERIVATIONS[name], parse_probability(text, probability)))
        channels = channels_after(stages[-1], channels)
    return tuple(stages)


def parse_probability(text: str, probability: str) -> float:
    """Returns the number behind the colon of NAME:PROBABILITY; 1 where there is none.

    Raises ValueError for any other.
    """
    try:
        value = float(probability) if ":" in text else 1.0
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError(f"expected NAME or NAME:PROBABILITY with a probability above 0 and at most 1; found {text!r}")
    return value
