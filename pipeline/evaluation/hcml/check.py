"""Which settings a projection can be learned with."""

from __future__ import annotations

from pipeline.batch import Modality
from pipeline.settings import Settings


def check_projection(settings: Settings) -> None:
    """Raises ValueError where `evaluation.projection` asks for what can't be learned."""
    evaluation = settings.evaluation
    if evaluation.projection == "none":
        return
    if evaluation.extractor != "network":
        raise ValueError("evaluation.projection: hcml is learned from features of a network; found extractor=pixels")
    if evaluation.fusion != "none":
        raise ValueError(
            "evaluation.projection: hcml takes features of images without their derivatives; found "
            f"evaluation.fusion={evaluation.fusion}"
        )
    trained = {Modality.from_name(name).base for name in settings.batch.modalities}
    if not {Modality.VISIBLE, Modality.INFRARED} <= trained:
        found = ", ".join(settings.batch.modalities)
        raise ValueError(
            f"evaluation.projection: hcml is learned from people trained on in both modalities; found "
            f"batch.modalities={found}"
        )
