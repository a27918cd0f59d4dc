import itertools

import pytest
import torch

from pipeline.losses.mask_separation import mask_separation_loss
from pipeline.losses.term import LossContext, Rows
from pipeline.parts import LOSSES, build_part
from tests.losses.features import objective


def masks(patterns):
    return torch.rand(4, patterns, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("patterns", [1, 2, 6])
def test_equals_a_loop_over_pairs(patterns):
    found = masks(patterns).requires_grad_()
    pairs = [
        sum(a * b for a, b in zip(image[q], image[r], strict=True))
        for image in found.tolist()
        for q, r in itertools.combinations(range(patterns), 2)
    ]
    expected = sum(pairs) / max(len(pairs), 1)
    assert mask_separation_loss(found).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert torch.autograd.gradcheck(mask_separation_loss, (found,))


def term(extra):
    options = LOSSES.options_of({}, "mask_separation")
    context = LossContext((), 3, {"global": 5, "parts": 5}, extra=extra)
    return build_part(LOSSES, options, "losses.mask_separation", context)


def test_the_term_reads_the_masks():
    given = masks(3)
    rows = Rows({"masks": given}, torch.zeros(4, dtype=torch.int64), [0] * 4)
    torch.testing.assert_close(term({"global": ("masks",), "parts": ("masks",)})(rows), mask_separation_loss(given))


@pytest.mark.parametrize("extra", [{"global": ("masks",)}, {}])
def test_features_without_masks_are_refused(extra):
    lacking = "parts" if extra else "global"
    with pytest.raises(ValueError, match=rf"^losses\.mask_separation\.features: .* that make masks; found {lacking}$"):
        term(extra)


def test_the_same_where_all_heads_are_others():
    with pytest.raises(
        ValueError, match=r"^losses\.mask_separation\.features: expected those of heads that make masks"
    ):
        objective({"mask_separation": {}})


def test_no_image_counts_nothing():
    masks = torch.zeros(0, 3, 4, requires_grad=True)
    assert mask_separation_loss(masks).item() == 0 and mask_separation_loss(masks).requires_grad
