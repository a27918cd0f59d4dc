"""Values of the public code of CAJ and MPANet beside ours: quantities of `tests.losses.published`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from pipeline.batch import CAPTURED, Modality
from pipeline.losses.center_cluster import center_cluster_loss
from pipeline.losses.identity import identity_loss
from pipeline.losses.mask_separation import mask_separation_loss
from pipeline.losses.modality_learning import ModalityLearningLoss
from pipeline.losses.term import LossContext, Rows
from pipeline.losses.weighted_triplet import weighted_triplet_loss
from pipeline.models.heads import Feature, HeadContext
from pipeline.models.mam import MAM
from pipeline.models.patterns import PatternsHead
from pipeline.models.pooling import Pooling
from tests.losses.published_case import Case, Quantity, of_features

VISIBLE_CAMERAS = (1, 2, 4, 5)  # of SYSU-MM01
IDENTITIES, WIDTH, PATTERNS = 10, 8, 3


def squared(released: bool, **options: float) -> Callable[[Case], torch.Tensor]:
    return lambda case: weighted_triplet_loss(case["features"], case["labels"], released, **{"square": True, **options})


def center_cluster(part: str | None) -> Callable[[Case], torch.Tensor]:
    def value(case: Case) -> torch.Tensor:
        parts = center_cluster_loss(case["features"], case["labels"], 0.7)
        return parts[part] if part else parts["pull"] + parts["push"]

    return value


def mam(case: Case) -> torch.Tensor:
    made = MAM(MAM.Options("mam"), channels=32).double()
    names = {"reduce": "0", "expand": "2"}
    made.load_state_dict(
        {f"{own}.weight": case[f"mam_param_channel_attention.{it}.weight"] for own, it in names.items()}
    )
    return made(case["mam_in"])


class Step:
    """A training step of MPANet's whole head on the maps of the file."""

    def __init__(self, case: Case) -> None:
        before = {name: case[f"head_before_{name}"] for name in NAMES}
        self.head = PatternsHead(
            PatternsHead.Options("patterns", count=PATTERNS),
            "global",
            HeadContext(WIDTH, CAPTURED, IDENTITIES, "average"),
        ).double()
        self.head.load_state_dict({NAMES[name]: before[name] for name in NAMES if NAMES[name]}, strict=False)
        context = LossContext(CAPTURED, IDENTITIES, {"global": (PATTERNS + 1) * WIDTH}, extra=self.head.extra)
        self.specific = ModalityLearningLoss(ModalityLearningLoss.Options("modality_learning"), context).double()
        for base in CAPTURED:
            of = f"{base.key}_classifier"
            self.specific.classifiers[base.key].weight.data.copy_(before[f"{of}.weight"])
            self.specific.average_of(base).copy_(before[f"{of}_.weight"])
        self.labels, self.maps = case["head_labels"], case["head_maps"]
        cameras = case["head_cam_ids"].tolist()
        self.modality = [CAPTURED[camera not in VISIBLE_CAMERAS] for camera in cameras]
        self.specific.begin_step(0, 1)
        self.feature = self.run()

    def run(self) -> Feature:
        return self.head(self.maps, Pooling("average"), self.modality)["global"]

    def rows(self) -> Rows:
        return Rows({"embedding": self.feature.embedding}, self.labels, [int(kind) for kind in self.modality])

    def terms(self) -> dict[str, torch.Tensor]:
        """The six terms by their names in the file, unweighted."""
        both = self.specific(self.rows())
        alone = [
            identity_loss(self.specific.classifiers[base.key](own.embedding), own.labels) for base, own in self.of()
        ]
        torch.testing.assert_close(both["specific"], alone[0] + alone[1])
        return {
            "p-reg": mask_separation_loss(self.feature.extra["masks"]),
            "cc": sum(center_cluster_loss(self.feature.pooled, self.labels, 0.7).values()),
            "ce": identity_loss(self.feature.logits, self.labels),
            "ce-v": alone[0],
            "ce-i": alone[1],
            "KL": both["divergence"] / 2.5,
        }

    def of(self) -> list[tuple[Modality, Rows]]:
        return [(base, self.rows().of(base)) for base in CAPTURED]

    def total(self) -> torch.Tensor:
        terms, both = self.terms(), self.specific(self.rows())
        return terms["ce"] + terms["cc"] + 0.5 * terms["p-reg"] + both["specific"] + both["divergence"]

    def gradient_norm(self, parameter: str) -> torch.Tensor:
        own = parameter.removesuffix(".weight").removesuffix("_classifier")
        of_term = own in self.specific.classifiers
        trained = self.specific.classifiers[own].weight if of_term else self.head.get_parameter(NAMES[parameter])
        return torch.autograd.grad(self.total(), trained)[0].norm()


NAMES = {
    "spatial_attention.weight": "attention.weight",
    "spatial_attention.bias": "attention.bias",
    "visible_classifier.weight": "",
    "infrared_classifier.weight": "",
    "visible_classifier_.weight": "",
    "infrared_classifier_.weight": "",
    "bn_neck.weight": "neck.weight",
    "bn_neck.bias": "neck.bias",
    "classifier.weight": "classifier.weight",
}
TRAINED = ["spatial_attention.weight", "spatial_attention.bias", "visible_classifier.weight"]
TRAINED += ["infrared_classifier.weight", "bn_neck.weight", "classifier.weight"]


def term(name: str, case: Case) -> torch.Tensor:
    return Step(case).terms()[name].detach()


def gradient_norm(parameter: str, case: Case) -> torch.Tensor:
    return Step(case).gradient_norm(parameter)


def average(base: Modality, case: Case) -> torch.Tensor:
    return Step(case).specific.average_of(base)


def tested(case: Case) -> torch.Tensor:
    step = Step(case)
    step.head.eval()
    return step.run().embedding.detach()


whole_head = partial(Quantity, "mpanet", tolerance=1e-6)  # that code computes its losses in float32

QUANTITIES = [
    of_features("caj", "adp_alpha1_gamma1_square1", squared(released=True)),
    of_features("caj", "adp_alpha2_gamma0.5_square1", squared(released=True, alpha=2.0, gamma=0.5)),
    of_features("caj", "squared_exact_softmax", squared(released=False)),
    of_features("mpanet", "center_cluster_m07", center_cluster(None)),
    *(Quantity("mpanet", part, center_cluster(part), {}) for part in ("pull", "push")),
    Quantity("mpanet", "mam_out", mam, {"mam_gradin_of_sumsq": "mam_in"}, of=lambda value: value.square().sum()),
    whole_head("head_total", lambda case: Step(case).total(), {"head_total__grad_maps": "head_maps"}),
    *(whole_head(f"head_term_{name}", partial(term, name), {}) for name in ("p-reg", "cc", "ce", "ce-v", "ce-i", "KL")),
    *(whole_head(f"head_gradnorm_{name}", partial(gradient_norm, name), {}) for name in TRAINED),
    *(Quantity("mpanet", f"head_after_{base.key}_classifier_", partial(average, base), {}) for base in CAPTURED),
    Quantity("mpanet", "head_eval_feature_after_that_step", tested, {}),
]
