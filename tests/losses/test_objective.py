"""The weighted sum of terms, and what ranks that share a batch minimize, computed here for each in turn; real processes
are those of tests/multiprocess."""

from dataclasses import replace

import pytest
import torch

from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.gathering import gather_rows, mean_over_ranks
from pipeline.loading.sampling import identities_of_ranks
from pipeline.losses.cross import cross_modality_loss
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.objective import modality_of_ranks
from pipeline.losses.term import LossContext, LossTerm, Measured, Rows, side_by_side
from pipeline.settings import Settings
from tests.losses.features import CLASSES, ROWS, objective, random_rows

PAPER = {"identity": {}, "intra": {}, "cross": {}}
PAIRS = Settings().losses["cross"].pairs
BASE = ["visible", "infrared"]


def one_by_one(smoothing, intra, arguments):
    """Each part from rows picked one by one."""
    rows = random_rows()

    def of(name):
        found = [row for row in range(ROWS) if rows.modality[row] == Modality.from_name(name)]
        return torch.stack([rows.pooled[row] for row in found]), torch.stack([rows.labels[row] for row in found])

    parts = {"identity": identity_loss(rows.logits, rows.labels, smoothing)}
    parts |= {f"intra_{name}": intra_modality_loss(*of(name), *arguments) for name in intra}
    return parts | {f"cross_{a}_{b}": cross_modality_loss(*of(a), *of(b), *arguments) for a, b in PAIRS}


@pytest.mark.parametrize("intra", [None, ["visible", "infrared_derived"]])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weighted_sum_and_parts(intra, reduction):
    hinge = {"margin": 0.7, "reduction": reduction}
    report = objective(
        {
            "identity": {"weight": 2.0, "label_smoothing": 0.1},
            "intra": {"weight": 0.5, "modalities": intra, **hinge},
            "cross": {"weight": 3.0, **hinge},
        }
    )({"global": random_rows()})
    parts = one_by_one(0.1, intra or MODALITY_NAMES, (0.7, reduction))
    sums = {name: sum(v for k, v in parts.items() if k.startswith(name)) for name in ("identity", "intra", "cross")}
    assert list(report)[:3] == ["loss", "identity", "intra"]
    assert set(report) == {"loss", "intra", "cross", *parts}
    for name, value in (parts | sums).items():
        torch.testing.assert_close(report[name], value)
    torch.testing.assert_close(report["loss"], 2.0 * sums["identity"] + 0.5 * sums["intra"] + 3.0 * sums["cross"])


def test_a_term_sees_what_it_reads_alone():
    rows = random_rows()
    gathered = replace(rows, parts={"pooled": rows.pooled})
    assert gathered.of(Modality.VISIBLE).pooled.shape == rows.of(Modality.VISIBLE).pooled.shape
    with pytest.raises(LookupError, match="logits: expected among what the term reads; found pooled"):
        gathered.of(Modality.VISIBLE).logits  # noqa: B018


def test_only_the_loss_has_a_graph():
    rows = random_rows()
    report = objective(PAPER)({"global": replace(rows, parts=rows.parts | {"pooled": rows.pooled.requires_grad_()})})
    assert report["loss"].requires_grad
    assert not any(value.requires_grad for name, value in report.items() if name != "loss")
    assert all(value.ndim == 0 for value in report.values())


def test_a_term_is_the_mean_over_its_features():
    rows = random_rows()
    other = replace(rows, parts={name: part.flip(0) for name, part in rows.parts.items()})
    widths = {"upper": 5, "lower": 5}
    both = objective(PAPER | {"intra": {"features": ["lower"]}}, widths=widths)({"upper": rows, "lower": other})
    upper, lower = (objective(PAPER)({"global": one}) for one in (rows, other))
    torch.testing.assert_close(both["identity"], (upper["identity"] + lower["identity"]) / 2)
    torch.testing.assert_close(both["cross"], (upper["cross"] + lower["cross"]) / 2)
    torch.testing.assert_close(both["cross_upper_infrared_visible"], upper["cross_infrared_visible"] / 2)
    torch.testing.assert_close(both["intra"], lower["intra"])
    torch.testing.assert_close(both["loss"], both["identity"] + both["intra"] + both["cross"])


def test_a_joined_term_looks_at_its_features_side_by_side():
    rows = random_rows()
    other = replace(rows, parts={name: part.flip(0) for name, part in rows.parts.items()})
    widths = {"upper": 5, "lower": 5}
    losses = PAPER | {"cross": {"joined": True}, "intra": {"joined": True, "features": ["lower"]}}
    found = objective(losses, widths=widths)({"upper": rows, "lower": other})
    wide = replace(rows, parts=rows.parts | {"pooled": torch.cat([rows.pooled, other.pooled], dim=1)})
    alone = objective(PAPER, widths={"global": 10})({"global": wide})
    torch.testing.assert_close(found["cross"], alone["cross"])
    torch.testing.assert_close(found["cross_infrared_visible"], alone["cross_infrared_visible"])
    torch.testing.assert_close(found["intra"], objective(PAPER)({"global": other})["intra"])
    assert not any("upper" in name for name in found if name.startswith(("cross", "intra")))


def test_a_joined_term_has_the_width_of_all_and_keeps_cameras():
    context = LossContext(tuple(Modality), CLASSES, {"upper": 5, "lower": 3}, {"lower": 2})
    joined, of_each = (LossTerm(LossTerm.Options("x", joined=one), context) for one in (True, False))
    assert joined.width_of("pooled") == 8 and joined.width_of("embedding") == 7
    with pytest.raises(ValueError, match="features: expected those of one width; found upper, lower"):
        of_each.width_of("pooled")
    rows = [replace(random_rows(), parts={"pooled": torch.ones(ROWS, 2), "camera": torch.arange(ROWS)})] * 2
    assert side_by_side(rows).pooled.shape == (ROWS, 4) and side_by_side(rows).camera.shape == (ROWS,)


def test_logits_can_not_be_joined():
    message = r"losses\.identity\.joined: expected false for a term that reads logits"
    with pytest.raises(ValueError, match=message):
        objective({"identity": {"joined": True}})


@pytest.mark.parametrize("off", ["identity", "intra", "cross"])
def test_a_term_of_weight_0_is_not_there(off):
    made = objective(PAPER | {off: {"weight": 0}})
    report = made({"global": random_rows()})
    assert {name.split("_")[0] for name in report} == {"loss", *PAPER.keys() - {off}}
    assert off not in made.terms
    assert made.reads("global", "logits") == (off != "identity") and made.reads("global", "pooled")
    assert not made.reads("global", "embedding")


class Measuring(LossTerm):
    """The mean of all values, and as a number that nobody minimizes, the share above 0."""

    def forward(self, rows):
        return Measured({"mean": rows.pooled.mean()}, {"positive": (rows.pooled > 0).double().mean()})


class Unnamed(LossTerm):
    def forward(self, rows):
        return Measured({"mean": rows.pooled.mean()}, {"mean": rows.pooled.mean()})


class Long(LossTerm):
    def forward(self, rows):
        return Measured(rows.pooled.mean(), {"all": rows.pooled})


MEASURING = {"measuring": {"type": f"{__name__}:Measuring", "weight": 2.0}}


def test_what_is_measured_is_reported_and_not_minimized():
    rows = random_rows(torch.float64)
    report = objective(MEASURING)({"global": rows})
    assert list(report) == ["loss", "measuring", "measuring_mean", "measuring_positive"]
    torch.testing.assert_close(report["loss"], 2 * rows.pooled.mean())
    torch.testing.assert_close(report["measuring_positive"], (rows.pooled > 0).double().mean())


def test_what_is_measured_of_several_features_is_reported_of_each():
    rows = random_rows(torch.float64)
    other = replace(rows, parts={"pooled": rows.pooled + 1})
    report = objective(MEASURING, widths={"upper": 5, "lower": 5})({"upper": rows, "lower": other})
    torch.testing.assert_close(report["measuring_upper_positive"], (rows.pooled > 0).double().mean())
    torch.testing.assert_close(report["measuring_lower_positive"], (rows.pooled > -1).double().mean())
    torch.testing.assert_close(report["loss"], rows.pooled.mean() + other.pooled.mean())


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Unnamed, r"losses\.x: expected a name of its own for what is measured; found 'mean'"),
        (Long, r"losses\.x: expected a scalar tensor, or some by name; found all \(24, 5\) torch.float32"),
    ],
)
def test_what_can_not_be_reported(term, message):
    with pytest.raises(ValueError, match=message):
        objective({"x": {"type": f"{__name__}:{term.__name__}"}})({"global": random_rows()})


def test_rows_of_a_modality_not_in_use_do_not_count():
    rows = random_rows()
    losses = PAPER | {"identity": {"weight": 0}, "cross": {"pairs": [BASE]}}
    base = [row for row in range(ROWS) if Modality(rows.modality[row]).key in BASE]
    parts = {name: part[base] for name, part in rows.parts.items()}
    alone = Rows(parts, rows.labels[base], [rows.modality[row] for row in base])
    made = objective(losses, BASE)
    assert torch.equal(made({"global": rows})["loss"], made({"global": alone})["loss"])


def test_order_of_rows_does_not_matter():
    rows = random_rows()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(5))
    parts = {name: part[order] for name, part in rows.parts.items()}
    shuffled = Rows(parts, rows.labels[order], [rows.modality[row] for row in order])
    made = objective(PAPER)
    torch.testing.assert_close(made({"global": shuffled})["loss"], made({"global": rows})["loss"])


def test_gradient():
    rows, made = random_rows(torch.float64), objective(PAPER)

    def total(logits, pooled):
        return made({"global": replace(rows, parts={"logits": logits, "pooled": pooled})})["loss"]

    assert torch.autograd.gradcheck(total, (rows.logits.requires_grad_(), rows.pooled.requires_grad_()))


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            {"cross": {"pairs": [["visible", "infrared_derived"]]}},
            r"losses\.cross\.pairs: infrared_derived is not in use; in",
        ),
        ({"intra": {"modalities": ["visible_derived"]}}, r"losses\.intra\.modalities: visible_derived is not in use"),
        ({"cross": {"pairs": [["visible", "visible"]]}}, r"losses\.cross\.pairs: expected pairs of two different"),
        ({"cross": {"pairs": [BASE, BASE[::-1]]}}, r"losses\.cross\.pairs: .*each pair once; found infrared, visible"),
        (
            {"cross": {"pairs": [["visible"]]}},
            r"losses\.cross\.pairs: expected pairs of modalities; found \['visible'\]",
        ),
        (
            {"cross": {"pairs": [["visible", "red"]]}},
            r"losses\.cross\.pairs: modality: expected one of .*; found 'red'",
        ),
        ({"intra": {"modalities": ["visible", "visible"]}}, r"losses\.intra\.modalities: each modality once"),
        ({"intra": {"weight": float("inf")}}, r"losses\.intra\.weight: expected a number of 0 or more; found inf"),
        ({"intra": {"features": ["head"]}}, r"losses\.intra\.features: expected some of global; found head"),
        ({"identity": {"weight": 0}}, "losses: every term is switched off"),
    ],
)
def test_bad_options(losses, message):
    with pytest.raises(ValueError, match=message) as caught:
        objective(losses, BASE)
    assert "\n" not in str(caught.value)


# ---- ranks

IDENTITIES, IMAGES = 5, 2


def part_of_batch(begin, end):
    """Rows of the identities begin .. end of one global batch, those of a modality together."""
    generator = torch.Generator().manual_seed(0)
    pooled, logits = (torch.randn(4, IDENTITIES * IMAGES, size, generator=generator) for size in (6, CLASSES))
    mine, count = slice(begin * IMAGES, end * IMAGES), (end - begin) * IMAGES
    labels = (torch.arange(IDENTITIES) % CLASSES).repeat_interleave(IMAGES)[mine].repeat(4)
    modality = tuple(int(kind) for kind in Modality for _ in range(count))
    pooled, logits = pooled[:, mine].reshape(-1, 6), logits[:, mine].reshape(-1, CLASSES)
    return {"global": Rows({"pooled": pooled, "embedding": pooled, "logits": logits}, labels, modality)}


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_identities_are_shared_evenly(ranks):
    shares = identities_of_ranks(5, ranks)
    assert sum(shares) == 5 and len(shares) == ranks and max(shares) - min(shares) <= 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_with_local_mining_the_mean_over_ranks_weighs_each_by_its_rows(reduction):
    losses = PAPER | {name: {"reduction": reduction} for name in ("intra", "cross")}
    bounds = [(0, 3), (3, 5)]
    made = [objective(losses, mining="local", identities=(3, 2), rank=rank) for rank in range(2)]
    found = torch.stack([one(part_of_batch(*bound))["loss"] for one, bound in zip(made, bounds, strict=True)])
    alone = [
        objective(losses, mining="local", identities=(end - begin,))(part_of_batch(begin, end)) for begin, end in bounds
    ]
    identity = (3 * alone[0]["identity"] + 2 * alone[1]["identity"]) / 5
    metric = [one["intra"] + one["cross"] for one in alone]
    metric = metric[0] + metric[1] if reduction == "sum" else (3 * metric[0] + 2 * metric[1]) / 5
    torch.testing.assert_close(found.mean(), identity + metric)


def test_with_local_mining_what_is_measured_is_a_mean_as_well():
    bounds = [(0, 3), (3, 5)]
    made = [objective(MEASURING, mining="local", identities=(3, 2), rank=rank) for rank in range(2)]
    found = [one(part_of_batch(*bound))["measuring_positive"] for one, bound in zip(made, bounds, strict=True)]
    one = objective(MEASURING, identities=(IDENTITIES,))(part_of_batch(0, IDENTITIES))
    torch.testing.assert_close(torch.stack(found).mean(), one["measuring_positive"])


def test_one_rank_has_the_same_loss_whatever_the_mining():
    rows = part_of_batch(0, IDENTITIES)
    one, other = (objective(PAPER, mining=mining, identities=(IDENTITIES,))(rows) for mining in ("global", "local"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_modalities_of_all_ranks_stand_as_their_rows_do():
    assert modality_of_ranks((0, 0, 3, 3), [4, 2]) == [0, 0, 3, 3, 0, 3]


def test_one_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows, [3]) is rows
    assert mean_over_ranks(rows) is rows
    with pytest.raises(AssertionError, match="not as many rows as announced"):
        gather_rows(rows, [4])
