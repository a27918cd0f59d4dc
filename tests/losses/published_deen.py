"""Values of the public code of DEEN beside ours, for `tests.losses.published`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from pipeline.batch import CAPTURED
from pipeline.losses.cpm import CPMLoss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.orthogonality import OrthogonalityLoss
from pipeline.losses.term import FeatureTerm, LossContext, Rows
from pipeline.models.dee import DEE
from pipeline.models.mfa import MFA, ChannelNonLocal, PlaceNonLocal
from tests.losses.published_case import Case, Quantity, of_features

VERSIONS = 3
BLOCKS = 2 * VERSIONS  # of rows: visible and infrared of each version
NON_LOCAL = {"theta": "theta", "phi": "phi", "g": "g", "W.0": "expand", "W.1": "norm"}
MFA_PARTS = {
    f"{theirs}.{layer}": f"{ours}.{own}"
    for theirs, ours in (("CNL", "channels"), ("PNL", "places"))
    for layer, own in NON_LOCAL.items()
}
DEE_PARTS = {
    **{f"FC{branch}{r}": f"branches.{branch - 1}.dilated.{r - 1}" for branch in (1, 2) for r in (1, 2, 3)},
    **{f"FC{branch}": f"branches.{branch - 1}.expand" for branch in (1, 2)},
}


def rows(case: Case) -> Rows:
    """The rows of a case, as they stand in a batch of three versions."""
    block, each = case["block"], len(case["block"]) // BLOCKS
    modality = [int(kind) for kind in CAPTURED * VERSIONS for _ in range(each)]
    assert block.tolist() == [number for number in range(BLOCKS) for _ in range(each)]
    return Rows({"pooled": case["features"], "version": block // len(CAPTURED)}, case["labels"], modality)


CONTEXT = LossContext(CAPTURED, 206, {"global": 16}, versions=VERSIONS)


def cpm(version: int) -> Callable[[Case], torch.Tensor]:
    term = CPMLoss(CPMLoss.Options("cpm"), CONTEXT)
    return lambda case: term(rows(case))[f"version_{version}"]


def orthogonality(case: Case) -> torch.Tensor:
    return OrthogonalityLoss(FeatureTerm.Options("orthogonality"), CONTEXT)(rows(case))


def triplet(case: Case) -> torch.Tensor:
    return intra_modality_loss(case["features"], case["labels"], 0.3, "mean")


def module(name: str, made: nn.Module, layers: dict[str, str], inputs: int = 2) -> Quantity:
    """The output of a module with their weights, and the gradients of the sum of its squares.

    layers: their name of a layer -> ours.
    """

    def output(case: Case) -> torch.Tensor:
        made.double().train()
        state = {
            f"{own}.{part}": case[f"{name}_param_{theirs}.{part}"]
            for theirs, own in layers.items()
            for part, _ in made.get_submodule(own).named_parameters()
        }
        assert state.keys() == dict(made.named_parameters()).keys()
        made.load_state_dict(state, strict=False)
        return made(*(case[f"{name}_in{number}"] for number in range(inputs)))

    gradients = {f"{name}_gradin{number}_of_sumsq": f"{name}_in{number}" for number in range(inputs)}
    return Quantity("deen", f"{name}_out", output, gradients, of=lambda value: value.square().sum())


QUANTITIES = [
    *(of_features("deen", f"cpm_original_with_expansion{version}", cpm(version)) for version in (1, 2)),
    of_features("deen", "triplet_all_rows_m03", triplet),
    of_features("deen", "ort", orthogonality),
    module("dee", DEE(DEE.Options("dee", dropout=0.0), 16), DEE_PARTS, inputs=1),
    module("cnl_flag0", ChannelNonLocal(16, 4, 4), NON_LOCAL),
    module("cnl_flag1", ChannelNonLocal(16, 8, 8), NON_LOCAL),
    module("pnl", PlaceNonLocal(16, 4, 2, paired=True), NON_LOCAL),
    module("pnl_bigger_low_map", PlaceNonLocal(16, 8, 4, paired=True), NON_LOCAL),
    module("mfa_flag1", MFA(MFA.Options("mfa", paired=True), 16, 8), MFA_PARTS),
]
