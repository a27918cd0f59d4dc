"""Settings of the test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.settings_key import key

GalleryRule = Literal["auto", "official", "random_seed"]
ProtocolVariant = Literal["paper", "repository"]
DIRECTIONS = ("visible_to_infrared", "infrared_to_visible")


@dataclass(frozen=True)
class EvaluationSettings:
    extractor: Literal["network", "pixels"] = key("network", "pixels: the gray image itself, a baseline")
    feature: Literal["embedding", "pooled", "both"] = key(
        "embedding", "after or before the BN neck; both: side by side, each of unit length"
    )
    similarity: Literal["whole", "summed"] = key(
        "whole",
        "of all features of a network (heads, stripes) side by side; summed: the sum of those of each one, all of unit "
        "length",
    )
    metric: Literal["cosine", "euclidean", "dot"] = key(
        "cosine", "distance between features; dot: their negative inner product, so that their lengths count"
    )
    flip: bool = key(
        False,
        "average the features of an image and its mirror image; with similarity=summed each of unit length before, so "
        "that metric=dot sums the similarities of all their pairs",
    )
    stems: Literal["own", "mean"] = key(
        "own",
        "stems that an image goes through: that of its modality, or with model.stems=modality the mean of that and of "
        "its derivative's",
    )
    fusion: Literal["none", "mean", "concatenate"] = key(
        "none", "join the features of an image and of its derivative, each of unit length"
    )
    projection: Literal["none", "hcml"] = key(
        "none",
        "hcml: features go through matrices, one per modality, learned from the features of the training images after "
        "the training (Ye et al., AAAI 2018)",
    )
    re_ranking: Literal["none", "k_reciprocal", "aim"] = key(
        "none",
        "k_reciprocal: distances by common nearest neighbours (Zhong et al., CVPR 2017); aim: with the similarity of "
        "similarities to the gallery (Fang et al., ICCV 2023)",
    )
    re_ranking_k1: int = key(20, "k_reciprocal: nearest neighbours that must be mutual", min=1)
    re_ranking_k2: int = key(6, "k_reciprocal: nearest neighbours averaged over; 1: none", min=1)
    re_ranking_weight: float = key(
        0.3, "k_reciprocal: share of the original distance (lambda), 0-1; 1: it alone", min=0, max=1
    )
    aim_k1: int = key(4, "aim: gallery images of which an image's similarities count", min=1)
    aim_k2: int = key(1, "aim: of these, those whose similarities a gallery image's own are averaged over", min=1)
    corruption: str = key(
        "none",
        "of the test images (Chen et al., NeurIPS 2021): one of 20 kinds, e.g. fog (docs/evaluation.md); random: drawn "
        "for each image; all: none, random and every kind, one after the other",
    )
    corruption_level: int | None = key(None, "from 1 to 5; null: drawn for each image", min=1, max=5)
    corrupted: list[str] = key(
        ["visible"], "modalities whose test images are corrupted", choices=("visible", "infrared")
    )
    batch: int = key(128, "images of a rank at a time", min=1)
    trials: int = key(10, "random galleries (SYSU-MM01, LLCM)", min=1, max=10)
    modes: list[str] = key(["all", "indoor"], "SYSU-MM01: all and/or indoor search", choices=("all", "indoor"))
    shots: list[str] = key(["single"], "SYSU-MM01: single and/or multi", choices=("single", "multi"))
    gallery_rule: GalleryRule = key(
        "auto", "SYSU-MM01: official rand_perm_cam.mat or Python's random.seed(trial); auto: official where it is there"
    )
    directions: list[str] = key(list(DIRECTIONS), "query to gallery, for RegDB, LLCM and folder", choices=DIRECTIONS)
    protocol_variant: ProtocolVariant = key("paper", "LLCM: which of its two protocols visible -> infrared")
