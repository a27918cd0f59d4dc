"""From the derivations that a configuration names to what the graphs make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dali_ops.decode import CHANNELS
from dali_ops.derive import DERIVATIONS
from dali_ops.derive.stages import Stage, channels_after, check_tiles
from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.settings import Settings
from pipeline.text import nearest

NORMALIZE = "normalize"  # what stands behind this word in a list of derivations acts on the normalized image
LEARNED = "learned"  # the derivation that the network makes itself; its rows leave the loader as the captured image


def modalities_in_use(settings: Settings) -> list[Modality]:
    """Returns the modalities trained on, in the order of `Modality`."""
    return sorted(Modality.from_name(name) for name in settings.batch.modalities)


def views_in_use(settings: Settings) -> dict[Modality, View]:
    """Returns what the images of each modality in use show, in the order of `Modality`. Raises as `derivations`."""
    stages: Mapping[Modality, tuple[Stage, ...] | None] = {**augmentations(settings), **derivations(settings)}
    mixing = None if settings.derive.mixing == "none" else settings.derive.mixing
    views = {}
    for modality in modalities_in_use(settings):
        augment = settings.augment.of(modality)
        fill = augment.random_erasing_fill if augment.random_erasing_prob > 0 else None
        mixed = mixing if modality.is_derived and stages[modality] else None
        probability = settings.derive.mixing_probability
        views[modality] = View(modality.base.key, stages[modality] or (), mixed, probability, fill)
    return views


def augmentations(settings: Settings) -> dict[Modality, tuple[Stage, ...]]:
    """Returns the stages that captured images go through in training. Raises ValueError as `derivations`."""
    chosen = {Modality.VISIBLE: settings.augment.visible, Modality.INFRARED: settings.augment.infrared}
    return {
        base: checked(f"augment.{base.key}", texts, base, settings) if texts else () for base, texts in chosen.items()
    }


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
        made = None if texts == [LEARNED] else checked(key, texts, modality.base, settings)
        before = getattr(settings.augment, modality.base.key)
        if made is None and before and modality.key in settings.batch.modalities:
            raise ValueError(
                f"augment.{modality.base.key}: expected none, as {key}=learned makes its image of the captured one "
                f"itself; found {', '.join(before)}"
            )
        if modality.key in settings.batch.modalities:
            stages[modality] = made
    return stages


def checked(key: str, texts: Sequence[str], base: Modality, settings: Settings) -> tuple[Stage, ...]:
    """Returns the stages of a key. Raises ValueError naming it."""
    try:
        stages = parse_stages(texts, CHANNELS[base.key])
        check_tiles(stages, settings.augment.height, settings.augment.width)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    return stages


def parse_stages(texts: Sequence[str], channels: int) -> tuple[Stage, ...]:
    """Returns the stages of `["weighted_gray", "gamma:0.5"]`, from an image of `channels`; each can follow the one
    before it. Those behind the word `normalize` act on the normalized image, which has three channels.

    Raises ValueError for a derivation that doesn't exist or that can't be applied there, and for an impossible
    probability.
    """
    if not texts:
        raise ValueError("expected one derivation or more (identity changes nothing); found none")
    before, behind = (texts, []) if NORMALIZE not in texts else divided(texts, texts.index(NORMALIZE))
    stages: list[Stage] = []
    for text in before:
        suitable = [known for known, it in DERIVATIONS.items() if it.takes in (None, channels)]
        stages.append(parse_stage(text, suitable, f"of an image of {channels} channel{'s' * (channels > 1)}"))
        channels = channels_after(stages[-1], channels)
    linear = [known for known, it in DERIVATIONS.items() if it.matrices]
    made = [parse_stage(text, linear, "of a normalized image") for text in behind]
    return (*stages, *(replace(stage, normalized=True) for stage in made))


def divided(texts: Sequence[str], place: int) -> tuple[Sequence[str], Sequence[str]]:
    """Returns what stands before the word at a place, and behind it. Raises ValueError where nothing does."""
    if place == len(texts) - 1:
        raise ValueError(f"expected a derivation behind {NORMALIZE}; found none")
    return texts[:place], texts[place + 1 :]


def parse_stage(text: str, suitable: Sequence[str], of: str) -> Stage:
    """Returns the stage of `NAME` or `NAME:PROBABILITY`. Raises ValueError where the name isn't a suitable one.

    of: what they are suitable for.
    """
    name, _, probability = text.partition(":")
    if name not in suitable:
        hint = {LEARNED: "; learned stands alone", NORMALIZE: "; normalize stands once"}.get(name) or nearest(
            name, suitable
        )
        raise ValueError(f"expected one of {', '.join(suitable)} ({of}); found {name!r}{hint}")
    return Stage(DERIVATIONS[name], parse_probability(text, probability))


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
