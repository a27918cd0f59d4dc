from __future__ import annotations

import pytest
import torch

from pipeline.batch import Modality
from pipeline.losses.cross import cross_modality_loss
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.total import TotalLoss

V, IR, DV, DI = Modality
ALL = (V, IR, DV, DI)
PAPER = ((IR, V), (V, DI), (IR, DV))
ROWS = 24


def _inputs(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    pooled = torch.randn(ROWS, 5, dtype=dtype, generator=generator)
    logits = torch.randn(ROWS, 3, dtype=dtype, generator=generator)
    labels = torch.arange(ROWS) % 3
    modality = torch.randint(0, 4, (ROWS,), generator=generator)  # rows of a modality are scattered
    return logits, labels, pooled, labels, modality


def _expected(loss: TotalLoss, intra: tuple[Modality, ...]) -> dict[str, torch.Tensor]:
    """Each part from rows picked one by one."""
    logits, labels, pooled, _, modality = _inputs()

    def rows(m: Modality) -> tuple[torch.Tensor, torch.Tensor]:
        found = [row for row in range(ROWS) if modality[row].item() == m]
        return torch.stack([pooled[row] for row in found]), torch.stack([labels[row] for row in found])

    parts = {"identity": identity_loss(logits, labels, loss.label_smoothing)}
    arguments = (loss.margin, loss.reduction)
    parts |= {f"intra_{m.key}": intra_modality_loss(*rows(m), *arguments) for m in intra}
    parts |= {f"cross_{a.key}_{b.key}": cross_modality_loss(*rows(a), *rows(b), *arguments) for a, b in loss.cross}
    return parts


@pytest.mark.parametrize("intra", [None, (V, DI)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weighted_sum_and_parts(intra: tuple[Modality, ...] | None, reduction: str) -> None:
    loss = TotalLoss(
        modalities=ALL, intra=intra, cross=PAPER, margin=0.7, reduction=reduction, identity_weight=2.0,
        intra_weight=0.5, cross_weight=3.0, label_smoothing=0.1,
    )  # fmt: skip
    report = loss(*_inputs())
    parts = _expected(loss, intra or ALL)
    sums = {name: sum(v for k, v in parts.items() if k.startswith(name)) for name in ("identity", "intra", "cross")}
    assert list(report)[:3] == ["loss", "identity", "intra"]
    assert set(report) == {"loss", "intra", "cross", *parts}
    for name, value in (parts | sums).items():
        torch.testing.assert_close(report[name], value)
    torch.testing.assert_close(report["loss"], 2.0 * sums["identity"] + 0.5 * sums["intra"] + 3.0 * sums["cross"])


def test_only_the_loss_has_a_graph() -> None:
    logits, labels, pooled, _, modality = _inputs()
    report = TotalLoss(modalities=ALL, cross=PAPER)(logits, labels, pooled.requires_grad_(), labels, modality)
    assert report["loss"].requires_grad
    assert not any(value.requires_grad for name, value in report.items() if name != "loss")
    assert all(value.ndim == 0 for value in report.values())


def test_metric_losses_see_other_rows_than_the_identity_loss() -> None:
    logits, labels, pooled, _, modality = _inputs()
    loss = TotalLoss(modalities=ALL, cross=PAPER)
    whole, share = (
        loss(logits, labels, pooled, labels, modality),
        loss(logits[:6], labels[:6], pooled, labels, modality),
    )
    assert whole["identity"] != share["identity"]
    assert torch.equal(whole["intra"], share["intra"]) and torch.equal(whole["cross"], share["cross"])


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({"identity_weight": 0.0}, {"intra", "cross"}),
        ({"intra_weight": 0.0}, {"identity", "cross"}),
        ({"intra": ()}, {"identity", "cross"}),
        ({"cross_weight": 0.0}, {"identity", "intra"}),
        ({"cross": ()}, {"identity", "intra"}),
    ],
)
def test_what_is_switched_off_is_not_computed(off: dict, left: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"identity": "identity_loss", "intra": "intra_modality_loss", "cross": "cross_modality_loss"}
    for name in names.keys() - left:

        def fail(*_: object) -> None:
            raise AssertionError("computed")

        monkeypatch.setattr(f"pipeline.losses.total.{names[name]}", fail)
    report = TotalLoss(**{"modalities": ALL, "cross": PAPER} | off)(*_inputs())
    assert {name.split("_")[0] for name in report} == {"loss", *left}


def test_rows_of_a_modality_not_in_use_do_not_count() -> None:
    logits, labels, pooled, _, modality = _inputs()
    loss = TotalLoss(modalities=(V, IR), cross=((IR, V),))
    base = [row for row in range(ROWS) if modality[row] in (V, IR)]
    report, alone = (
        loss(logits, labels, pooled, labels, modality),
        loss(logits, labels, pooled[base], labels[base], modality[base]),
    )
    assert torch.equal(report["loss"], alone["loss"])


def test_order_of_rows_does_not_matter_and_modality_may_be_a_sequence() -> None:
    logits, labels, pooled, _, modality = _inputs()
    loss = TotalLoss(modalities=ALL, cross=PAPER)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(5))
    shuffled = loss(logits, labels, pooled[order], labels[order], modality[order].tolist())
    torch.testing.assert_close(shuffled["loss"], loss(logits, labels, pooled, labels, modality)["loss"])


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels, pooled, _, modality = _inputs()
    loss = TotalLoss(modalities=ALL, cross=PAPER)
    half = loss(logits.bfloat16(), labels, pooled.bfloat16(), labels, modality)
    full = loss(logits.bfloat16().float(), labels, pooled.bfloat16().float(), labels, modality)
    assert half["loss"].dtype == torch.float32 and torch.equal(half["loss"], full["loss"])


def test_gradient() -> None:
    logits, labels, pooled, _, modality = _inputs(torch.float64)
    loss = TotalLoss(modalities=ALL, cross=PAPER, margin=1.0)

    def total(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(x, labels, y, labels, modality)["loss"]

    assert torch.autograd.gradcheck(total, (logits.requires_grad_(), pooled.requires_grad_()))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        (
            {"modalities": (V, IR), "cross": ((V, DI),)},
            "loss.cross_pairs: infrared_derived is not in use; in use: visible, infrared",
        ),
        ({"modalities": (V, IR), "intra": (DV,)}, "loss.intra_modalities: visible_derived is not in use"),
        ({"modalities": (V, IR), "cross": ((V, V),)}, "pairs of two different modalities"),
        ({"modalities": (V, IR), "cross": ((V, IR), (IR, V))}, "each pair once; found visible, infrared"),
        ({"modalities": (V, IR), "intra": (V, V)}, "loss.intra_modalities: each modality once"),
        ({"modalities": (V, IR), "margin": -0.1}, "loss.margin: expected a number of 0 or more; found -0.1"),
        ({"modalities": (V, IR), "cross_weight": float("nan")}, "loss.cross_weight"),
        ({"modalities": (V, IR), "identity_weight": float("inf")}, "loss.identity_weight"),
        ({"modalities": (V, IR), "label_smoothing": 1.5}, "loss.label_smoothing: expected a number of 0 to 1"),
        ({"modalities": (V, IR), "reduction": "median"}, "loss.reduction: expected one of mean, sum"),
        ({"modalities": (V, IR), "identity_weight": 0, "intra": ()}, "every part is switched off"),
    ],
)
def test_bad_settings(keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TotalLoss(**keywords)
    assert "\n" not in str(caught.value)
