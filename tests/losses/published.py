"""Values of the methods' public code beside ours. `python -m tests.losses.published` prints how far they are apart.

tests/fixtures/published/README.md says what the files hold. To compare another quantity, add a line to QUANTITIES, here
or in a published_<method>.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from pipeline.losses.bidirectional_ranking import bidirectional_ranking_loss
from pipeline.losses.center_triplet import center_triplet_loss
from pipeline.losses.contrastive import pair_contrastive_loss
from pipeline.losses.distance import euclidean, to_unit_length
from pipeline.losses.distillation import teaching_loss
from pipeline.losses.hardest import batch_hard_hinge
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.weighted_triplet import weighted_triplet_loss
from pipeline.models.generator import ModalityGenerator
from pipeline.models.non_local import NonLocal
from pipeline.models.pooling import Pooling
from pipeline.models.sphere import sphere_logits
from tests.losses import published_mscm, published_stripes
from tests.losses.published_case import INFRARED, SECOND_VISIBLE, VISIBLE, Case, Quantity, of_features

# ---- our functions, of a case


def weighted_triplet(released: bool, unit_length: bool = False) -> Callable[[Case], torch.Tensor]:
    def value(case: Case) -> torch.Tensor:
        features = to_unit_length(case["features"]) if unit_length else case["features"]
        return weighted_triplet_loss(features, case["labels"], released)

    return value


def center_triplet(other: int, distance: str) -> Callable[[Case], torch.Tensor]:
    return lambda case: center_triplet_loss(*case.of(INFRARED), *case.of(other), 0.5, distance)


def batch_hard_of_all(case: Case) -> torch.Tensor:
    return intra_modality_loss(case["features"], case["labels"], 0.3, "mean")


def batch_hard_of_each(case: Case) -> torch.Tensor:
    modalities = (VISIBLE, INFRARED, SECOND_VISIBLE)
    return torch.stack([intra_modality_loss(*case.of(modality), 0.3, "mean") for modality in modalities]).sum()


def ranking(intra_weight: float) -> Callable[[Case], torch.Tensor]:
    def value(case: Case) -> torch.Tensor:
        visible, infrared = to_unit_length(case["visible"]), to_unit_length(case["thermal"])
        labels = torch.arange(len(visible))
        return bidirectional_ranking_loss(visible, labels, infrared, labels, 0.5, 0.1, intra_weight)

    return value


def one_direction(anchors: torch.Tensor, others: torch.Tensor, reduction: str) -> torch.Tensor:
    same = torch.eye(len(anchors), dtype=torch.bool)
    return batch_hard_hinge(anchors, others, euclidean(anchors, others), same, 0.5, reduction)


def mean_plus_sum(case: Case) -> torch.Tensor:
    visible, infrared = case["visible"], case["thermal"]
    return one_direction(visible, infrared, "mean") + one_direction(infrared, visible, "sum")


def contrastive(case: Case) -> torch.Tensor:
    visible, infrared = to_unit_length(case["visible"]), to_unit_length(case["thermal"])
    return pair_contrastive_loss(visible, infrared, case["same_identity"] > 0, 0.5)


def non_local(case: Case) -> torch.Tensor:
    block = NonLocal(NonLocal.Options("non_local"), channels=8).double().train()
    theirs = {"theta": "theta", "phi": "phi", "g": "g.0", "expand": "W.0", "norm": "W.1"}
    parts = ("weight", "bias")
    weights = {f"{own}.{part}": case[f"nonlocal_param_{it}.{part}"] for own, it in theirs.items() for part in parts}
    missing = block.load_state_dict(weights, strict=False).missing_keys
    assert all(name.startswith("norm.") for name in missing), missing  # the BN's statistics
    return block(case["nonlocal_in"])


def generator(case: Case) -> torch.Tensor:
    made = ModalityGenerator().double()
    weights = {"to_gray": ("gen_w1", "gen_b1"), "to_color": ("gen_w2", "gen_b2")}
    state = {f"{layer}.weight": case[weight][..., None, None] for layer, (weight, _) in weights.items()}
    made.load_state_dict(state | {f"{layer}.bias": case[bias] for layer, (_, bias) in weights.items()})
    return made(case["gen_in"]).detach()


def both_gradients(name: str) -> dict[str, str]:
    return {f"{name}__grad_{of}": of for of in ("visible", "thermal")}


WITH_RESPECT_TO_BOTH = {"features": "features", "weight": "weight_in_by_classes"}


def sphere(case: Case) -> torch.Tensor:
    return identity_loss(sphere_logits(case["features"], case["weight_in_by_classes"].T, 14.0), case["labels"])


def teaching(case: Case) -> torch.Tensor:
    return teaching_loss(case["kl_student_logits"], case["kl_teacher_logits"], 3.0)


QUANTITIES = [
    of_features("agw", "wrt", weighted_triplet(released=True)),
    of_features("agw", "wrt_exact_softmax", weighted_triplet(released=False)),
    of_features("agw", "wrt_normalized", weighted_triplet(released=True, unit_length=True)),
    of_features("agw", "batchhard_m03", batch_hard_of_all),
    Quantity(
        "agw",
        "nonlocal_out_trainbn",
        non_local,
        {"nonlocal_gradin_of_sumsq": "nonlocal_in"},
        of=lambda value: value.square().sum(),
    ),
    Quantity("agw", "gem_p3_out", lambda case: Pooling("gem")(case["gem_in"]), {}),
    of_features("caj", "adp_alpha1_gamma1_square0", weighted_triplet(released=True)),
    *(
        of_features("xiv", f"L_{name}_{file}", center_triplet(other, distance))
        for name, other in (("iv", VISIBLE), ("ix", SECOND_VISIBLE))
        for file, distance in (("released_code", "released"), ("true_euclid", "euclidean"))
    ),
    of_features("xiv", "triplet_m03_sum_of_three_modalities", batch_hard_of_each),
    Quantity(
        "xiv",
        "ls_ce_eps01",
        lambda case: identity_loss(case["ls_logits"], case["ls_labels"], 0.1),
        {"ls_ce_eps01__grad": "ls_logits"},
        tolerance=1e-6,  # that code keeps its targets in float32
    ),
    Quantity("xiv", "gen_out", generator, {}),
    *(
        Quantity("bdtr", name, ranking(weight), both_gradients(name))
        for name, weight in (("birank_m05_intra0.1", 0.1), ("birank_m05_intra0.0", 0.0))
    ),
    Quantity(
        "bdtr",
        "ddag_onedirection_m05_mean",
        lambda case: one_direction(case["visible"], case["thermal"], "mean"),
        {"ddag_onedirection_m05_mean__grad_visible": "visible"},
    ),
    Quantity(
        "bdtr",
        "ddag_bitriplet_m05_mean_plus_sum",
        mean_plus_sum,
        {"ddag_bitriplet_m05_mean_plus_sum__grad_visible": "visible"},
    ),
    Quantity(
        "tone_contrastive",
        "contrastive_m05_per_sample_norm_paired_labels",
        contrastive,
        {"contrastive_m05_per_sample_norm_paired_labels__grad_visible": "visible"},
    ),
    Quantity("caj", "kl_T3", teaching, {"kl_T3__grad_student": "kl_student_logits"}),
    Quantity(
        "sphere_softmax",
        "sphere_softmax_s14",
        sphere,
        {f"sphere_softmax_s14__grad_{of}": name for of, name in WITH_RESPECT_TO_BOTH.items()},
    ),
    *published_mscm.QUANTITIES,
    *published_stripes.QUANTITIES,
]


def table(quantities: list[Quantity] = QUANTITIES) -> Iterator[str]:
    """Yields the lines of a table: the largest deviation of each quantity over its cases."""
    yield f"{'file':<17} {'quantity':<50} {'cases':>5} {'value':>9} {'gradient':>9}"
    for quantity in quantities:
        found = [quantity.deviations(case) for case in quantity.cases()]
        value, gradient = (max(each) for each in zip(*found, strict=True))
        slope = f"{gradient:9.1e}" if quantity.gradients else f"{'-':>9}"
        yield f"{quantity.file:<17} {quantity.name:<50} {len(found):>5} {value:9.1e} {slope}"


if __name__ == "__main__":
    print("\n".join(table()))
