"""What all losses between two modalities have in common, and all terms whose rows several ranks hold."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.config import load_config
from pipeline.losses.bidirectional_ranking import bidirectional_ranking_loss
from pipeline.losses.center_distance import center_distance_loss
from pipeline.losses.center_ranking import center_ranking_loss
from pipeline.losses.center_triplet import center_triplet_loss
from pipeline.losses.contrastive import contrastive_loss
from pipeline.losses.cross import cross_modality_loss
from pipeline.losses.term import Rows
from tests.losses.features import CLASSES, objective, random_rows
from tests.losses.uneven import rows

LOSSES = {
    "bidirectional_ranking": partial(bidirectional_ranking_loss, margin=0.5, intra_margin=3.0, intra_weight=0.5),
    "center_distance": center_distance_loss,
    "center_distance_unit": partial(center_distance_loss, unit_centers=True),
    "center_ranking": partial(center_ranking_loss, margin=0.5),
    "center_triplet": partial(center_triplet_loss, margin=0.5),
    "center_triplet_released": partial(center_triplet_loss, margin=0.5, distance="released"),
    "contrastive": partial(contrastive_loss, margin=3.0),
    "cross_all": partial(cross_modality_loss, margin=0.3, reduction="mean", mining="all"),
}
EACH = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@EACH
def test_gradient(loss):
    one, labels_1, other, labels_2 = rows(seed=3)
    inputs = one.requires_grad_(), other.requires_grad_()
    assert loss(one, labels_1, other, labels_2).item() > 0
    assert torch.autograd.gradcheck(lambda a, b: loss(a, labels_1, b, labels_2), inputs)


@EACH
def test_neither_the_order_of_rows_nor_of_modalities_matters(loss):
    one, labels_1, other, labels_2 = rows()
    first, second = torch.randperm(len(one)), torch.randperm(len(other))
    expected = loss(one, labels_1, other, labels_2)
    torch.testing.assert_close(loss(one[first], labels_1[first], other[second], labels_2[second]), expected)
    torch.testing.assert_close(loss(other, labels_2, one, labels_1), expected)


@EACH
@pytest.mark.parametrize("empty", ["first", "second", "both"])
def test_a_modality_without_rows_gives_0_and_a_gradient_of_0(loss, empty):
    one, labels_1, other, labels_2 = rows()
    count_1, count_2 = {"first": (0, 7), "second": (7, 0), "both": (0, 0)}[empty]
    one, other = one[:count_1].requires_grad_(), other[:count_2].requires_grad_()
    value = loss(one, labels_1[:count_1], other, labels_2[:count_2])
    value.backward()
    assert value.item() == 0 and not one.grad.any() and not other.grad.any()


def only(loss, labels_1, labels_2):
    one, _, other, _ = rows()
    inputs = one.requires_grad_(), other.requires_grad_()
    value = loss(inputs[0], labels_1, inputs[1], labels_2)
    return value, torch.autograd.grad(value, inputs)


@EACH
def test_one_identity_alone_and_none_in_common_have_finite_gradients(loss):
    _, labels_1, _, labels_2 = rows()
    value, gradients = only(loss, labels_1 * 0, labels_2 * 0)
    assert torch.isfinite(value) and all(torch.isfinite(gradient).all() for gradient in gradients)
    value, gradients = only(loss, labels_1, labels_2 + 10)
    assert torch.isfinite(value) and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", LOSSES.keys() - {"contrastive"})
def test_without_an_identity_in_common_there_is_nothing_to_compare(name):
    _, labels_1, _, labels_2 = rows()
    value, gradients = only(LOSSES[name], labels_1, labels_2 + 10)
    assert value.item() == 0 and not any(gradient.any() for gradient in gradients)


@EACH
@pytest.mark.parametrize("value", [0.0, 1.0, 100.0])
def test_equal_rows_have_a_finite_gradient(loss, value):
    one, labels_1, other, labels_2 = rows(torch.float32)
    one, other = torch.full_like(one, value).requires_grad_(), torch.full_like(other, value).requires_grad_()
    loss(one, labels_1, other, labels_2).backward()
    assert torch.isfinite(one.grad).all() and torch.isfinite(other.grad).all()


# ---- terms

BASE = ["visible", "infrared"]
TERMS = {
    "bidirectional_ranking": {"intra_margin": 1.0, "of": "pooled", "unit_length": False},
    "center_distance": {"unit_centers": True},
    "center_ranking": {},
    "center_triplet": {},
    "contrastive": {"margin": 1.0},
    "cross": {"mining": "all"},
    "weighted_triplet": {"unit_length": True},
}


@pytest.mark.parametrize("name", TERMS.keys() - {"weighted_triplet", "cross"})
def test_a_term_is_the_sum_over_its_pairs_of_what_it_is_told_to_compare(name):
    given = random_rows(torch.float64, rows=48)
    pairs = [["infrared", "visible"], ["visible", "infrared_derived"]]
    for of in ("pooled", "embedding"):
        options = TERMS[name] | {"pairs": pairs, "of": of, "unit_length": True}
        made = objective({name: options})
        assert made.reads("global", of) and not made.reads("global", "logits")
        report = made({"global": given})
        both = report[f"{name}_infrared_visible"] + report[f"{name}_visible_infrared_derived"]
        torch.testing.assert_close(report["loss"], both)
        longer = replace(given, parts={what: 3 * part for what, part in given.parts.items()})
        torch.testing.assert_close(made({"global": longer})["loss"], report["loss"])
        another = replace(given, parts=given.parts | {of: given.parts[of].flip(0)})
        assert made({"global": another})["loss"] != report["loss"]


def shares(count, images=2, identities=5):
    """Rows of a global batch, of each rank's identities, those of a modality together."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(identities) % CLASSES).repeat_interleave(images)
    parts = {
        what: torch.randn(len(Modality), identities * images, 5, dtype=torch.float64, generator=generator)
        for what in ("pooled", "embedding", "logits")
    }
    for chosen in torch.arange(identities * images).tensor_split([images * begin for begin in count]):
        modality = [int(kind) for kind in Modality for _ in chosen]
        own = {what: part[:, chosen].reshape(-1, 5).requires_grad_() for what, part in parts.items()}
        yield Rows(own, labels[chosen].repeat(len(Modality)), modality)


def gradients(loss, each, name):
    found = [torch.autograd.grad(loss, rows.parts[name], retain_graph=True)[0].reshape(4, -1, 5) for rows in each]
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("bounds", [[3], [1, 2, 4]])
def test_several_ranks_have_the_loss_and_the_gradient_of_one(name, bounds, monkeypatch):
    counts = [end - begin for begin, end in zip([0, *bounds], [*bounds, 5], strict=True)]
    ranks, (alone,) = list(shares(bounds)), list(shares([]))
    gathered = {}
    for rows_ in ranks:
        for what, part in rows_.parts.items():
            gathered[id(part)] = torch.cat([other.parts[what] for other in ranks])
        gathered[id(rows_.labels)] = torch.cat([other.labels for other in ranks])
    monkeypatch.setattr("pipeline.losses.objective.gather_rows", lambda part, counts: gathered[id(part)])
    term = {name: TERMS[name]}
    made = [objective(term, identities=counts, rank=rank) for rank in range(len(counts))]
    reports = [one({"global": rows_}) for one, rows_ in zip(made, ranks, strict=True)]
    expected = objective(term, identities=(5,))({"global": alone})
    for report in reports:
        assert report.keys() == expected.keys()
        for what, value in expected.items():
            torch.testing.assert_close(report[what], value, rtol=1e-9, atol=1e-12)
    (read,) = made[0].terms[name].reads
    loss = torch.stack([report["loss"] for report in reports]).mean()
    torch.testing.assert_close(gradients(loss, ranks, read), gradients(expected["loss"], [alone], read))


@pytest.mark.parametrize("name", TERMS.keys() - {"weighted_triplet"})
@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([["visible", "infrared_derived"]], "pairs: infrared_derived is not in use; in use: visible, infrared"),
        ([["visible", "visible"]], "pairs: expected pairs of two different modalities, each pair once; found visible"),
        ([BASE, BASE[::-1]], "pairs: expected pairs of two different .*; found infrared, visible"),
        ([["visible"]], r"pairs: expected pairs of modalities; found \['visible'\]"),
        ([["visible", "red"]], "pairs: modality: expected one of .*; found 'red'"),
        ([], r"pairs: expected one or more; found none \(weight 0"),
    ],
)
def test_bad_pairs(name, pairs, message):
    with pytest.raises(ValueError, match=rf"losses\.{name}\.{message}"):
        objective({name: {"pairs": pairs}}, BASE)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        *((f"losses.{name}.margin=-1", "expected at least 0; found -1") for name in TERMS if "margin" in name),
        ("losses.center_triplet.margin=-1", "expected at least 0; found -1"),
        ("losses.center_triplet.distance=city", "Invalid value 'city', expected one of"),
        ("losses.bidirectional_ranking.intra_weight=-1", "expected at least 0; found -1"),
        ("losses.bidirectional_ranking.intra_margin=-1", "expected at least 0; found -1"),
        ("losses.center_ranking.of=logits", "Invalid value 'logits', expected one of"),
        ("losses.contrastive.margin=-0.1", "expected at least 0; found -0.1"),
        ("losses.center_distance.unit_centers=much", "Value 'much'"),
        ("losses.cross.mining=random", "Invalid value 'random', expected one of"),
        ("losses.weighted_triplet.released=some", "Value 'some'"),
        ("losses.weighted_triplet.modalities=[red]", f"expected .*{MODALITY_NAMES[0]}.*; found"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_key(override, message):
    with pytest.raises(ValueError, match=message) as error:
        load_config([override])
    assert str(error.value).startswith(override.partition("=")[0]) and "\n" not in str(error.value)
