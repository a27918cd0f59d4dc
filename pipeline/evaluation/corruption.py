"""What `evaluation.corruption` asks for: SYSU-MM01-C, RegDB-C and LLCM-C (Chen, Wang and Zheng, NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import replace

from pipeline.corruptions.corrupt import CORRUPTIONS, RANDOM
from pipeline.settings import EvaluationSettings, Settings
from pipeline.text import nearest

NONE, ALL = "none", "all"
KINDS = (NONE, RANDOM, *CORRUPTIONS)  # those that `all` stands for, in the order of the tables


def check_corruption(evaluation: EvaluationSettings) -> None:
    """Raises ValueError where there is no such corruption, or nothing that it could be of."""
    kind, known = evaluation.corruption, (*KINDS, ALL)
    if kind not in known:
        raise ValueError(
            f"evaluation.corruption: expected one of {', '.join(known)}; found {kind!r}{nearest(kind, known)}"
        )
    if kind == NONE and evaluation.corruption_level is not None:
        raise ValueError(
            f"evaluation.corruption_level: {evaluation.corruption_level} is of a corruption; found "
            "evaluation.corruption=none"
        )
    if not evaluation.corrupted:
        raise ValueError("evaluation.corrupted: expected visible, infrared or both; found none")


def check_one_corruption(evaluation: EvaluationSettings, what: str) -> None:
    """Raises ValueError where all corruptions are asked for; `what` takes the features of one evaluation."""
    if evaluation.corruption == ALL:
        raise ValueError(f"evaluation.corruption: {what} of one corruption; found all")


def describe_corruption(evaluation: EvaluationSettings) -> str:
    """Returns `none`, or `fog(3)` with the level; `fog` where it is drawn, `fog(3,infrared)` of other modalities than
    the visible one."""
    if evaluation.corruption == NONE:
        return NONE
    level = [] if evaluation.corruption_level is None else [str(evaluation.corruption_level)]
    modalities = [] if evaluation.corrupted == ["visible"] else ["+".join(sorted(evaluation.corrupted, reverse=True))]
    values = ",".join([*level, *modalities])
    return f"{evaluation.corruption}({values})" if values else evaluation.corruption


def uncorrupted(settings: Settings) -> Settings:
    """Returns the settings that evaluate the images as they were captured."""
    return with_corruption(settings, NONE)


def with_corruption(settings: Settings, kind: str) -> Settings:
    """Returns the settings with another kind of KINDS, of the level and the modalities that they ask for."""
    level = None if kind == NONE else settings.evaluation.corruption_level
    return replace(settings, evaluation=replace(settings.evaluation, corruption=kind, corruption_level=level))


def is_corrupted(settings: Settings, modality: str) -> bool:
    """Whether test images of a captured modality are corrupted."""
    return settings.evaluation.corruption != NONE and modality in settings.evaluation.corrupted
