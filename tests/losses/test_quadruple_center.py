from __future__ import annotations

import math

import pytest
import torch

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.losses.quadruple_center import joined, quadruple_center_loss
from tests.losses.features import objective, random_rows
from tests.losses.uneven import center, mean

V1, I1, V2, I2 = Modality
LABELS = {V1: [0, 0, 1, 2, 2], V2: [0, 1, 1, 4], I1: [2, 0, 0, 1], I2: [0, 3, 2]}  # infrared has no 4, visible no 3


def streams(kinds=tuple(LABELS), scale=0.3, dtype=torch.float64):
    """Few rows a stream, near enough for some hinges."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for kind, labels in LABELS.items():
        features = scale * torch.randn(len(labels), 4, dtype=dtype, generator=generator)
        made[kind] = features, torch.tensor(labels)
    return {kind: made[kind] for kind in kinds}


def loop(given, margin, intra_weight):
    """Pull and push by loops over lists."""
    rows = [(x, y, kind) for kind, (xs, ys) in given.items() for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]

    def center_where(label, chosen):
        kept = [(x, y) for x, y, kind in rows if chosen(kind)]
        return center([x for x, _ in kept], [y for _, y in kept], label)

    to_other, to_own, pushed = [], [], []
    for x, label, kind in rows:
        other = center_where(label, lambda found, kind=kind: found.base is not kind.base)
        to_other += [math.dist(x, other)] if other else []
        to_own.append(math.dist(x, center_where(label, lambda found, kind=kind: found is kind)))
        negatives = sorted({y for _, y, _ in rows} - {label})
        hinges = [max(0.0, margin - math.dist(x, center_where(k, lambda _: True))) for k in negatives]
        pushed += [mean(hinges)] if hinges else []
    pull = (1 - intra_weight) * mean(to_other) + intra_weight * mean(to_own)
    return {"pull": pull / 2, "push": mean(pushed) / 2}


@pytest.mark.parametrize("margin", [0.0, 0.7])
@pytest.mark.parametrize("intra_weight", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("kinds", [(V1, I1, V2, I2), (I2, V1), (V1, V2), (I1,)], ids=str)
def test_equals_a_loop(margin, intra_weight, kinds):
    given = streams(kinds)
    expected = loop(given, margin, intra_weight)
    found = quadruple_center_loss(given, margin, intra_weight)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(expected, rel=1e-9)
    assert (expected["push"] > 0) == (margin > 0)


def total(given, features=None, intra_weight=0.0):
    """The loss with other features, (N, D) in the order of the streams."""
    if features is not None:
        parts = features.split([len(labels) for _, labels in given.values()])
        given = {kind: (own, given[kind][1]) for kind, own in zip(given, parts, strict=True)}
    found = quadruple_center_loss(given, 0.7, intra_weight)
    return found["pull"] + found["push"]


@pytest.mark.parametrize("intra_weight", [0.0, 0.25])
def test_gradient(intra_weight):
    given = streams()
    features, _ = joined([*given.values()])
    assert torch.autograd.gradcheck(lambda x: total(given, x, intra_weight), (features.requires_grad_(),))


def test_the_order_of_rows_and_the_numbers_of_identities_do_not_matter():
    given = streams()
    turned = {kind: (xs.flip(0), 7 * ys.flip(0) + 2) for kind, (xs, ys) in reversed(given.items())}
    torch.testing.assert_close(total(turned), total(given))


@pytest.mark.parametrize("kinds", [tuple(LABELS), (V1, V2)], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_the_gradient_is_finite_for_rows_that_are_equal_or_far(kinds, scale):
    given = streams(kinds, scale, torch.float32)
    features = joined([*given.values()])[0].requires_grad_()
    value = total(given, features, 0.5)
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(features.grad).all()


@pytest.mark.parametrize("intra_weight", [0.0, 0.5])
def test_no_rows(intra_weight):
    features = torch.zeros(0, 4, requires_grad=True)
    value = total({kind: (features, torch.zeros(0, dtype=torch.int64)) for kind in (V1, I1)}, intra_weight=intra_weight)
    value.backward()
    assert value.item() == 0 and features.grad.shape == (0, 4)


def test_the_term_reports_both_parts_of_the_streams_it_is_told():
    given = random_rows(torch.float64)
    options = {"weight": 2.0, "margin": 3.0, "intra_weight": 0.25, "of": "embedding"}
    for kinds in (tuple(Modality), (V1, V2, I1)):
        names = [kind.key for kind in kinds]
        report = objective({"quadruple_center": options | {"modalities": names}})({"global": given})
        own = {kind: (given.of(kind).embedding, given.of(kind).labels) for kind in kinds}
        expected = quadruple_center_loss(own, 3.0, 0.25)
        torch.testing.assert_close(report["loss"], 2 * (expected["pull"] + expected["push"]))
        torch.testing.assert_close({name: report[f"quadruple_center_{name}"] for name in expected}, expected)


@pytest.mark.parametrize(
    ("options", "modalities", "message"),
    [
        ({}, ["visible", "visible_derived"], "expected some of both captured .*; found visible, visible_derived"),
        ({"modalities": ["infrared"]}, ["visible", "infrared"], "expected some of both captured .*; found infrared"),
        ({"modalities": ["infrared_derived"]}, ["visible", "infrared"], "infrared_derived is not in use"),
        ({"modalities": ["thermal"]}, ["visible", "infrared"], "modality: expected one of .*; found 'thermal'"),
    ],
)
def test_modalities_without_two_that_were_captured_are_refused(options, modalities, message):
    with pytest.raises(ValueError, match=rf"losses\.quadruple_center\.modalities: {message}"):
        objective({"quadruple_center": options}, modalities)


@pytest.mark.parametrize(
    ("override", "message"),
    [("margin=-1", "expected at least 0; found -1"), ("intra_weight=1.5", "expected at most 1; found 1.5")],
)
def test_numbers_out_of_range_are_one_line_that_names_the_key(override, message):
    with pytest.raises(ValueError, match=rf"losses\.quadruple_center\.{override.split('=')[0]}: {message}"):
        load_config([f"losses.quadruple_center.{override}"])
