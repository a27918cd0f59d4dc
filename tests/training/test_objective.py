"""What the ranks minimise, computed here for each in turn; `multiprocess/` does it with real processes."""

import pytest
import torch

from pipeline.batch import Batch, Modality
from pipeline.build import build_objective
from pipeline.config import load_config
from pipeline.loading.sampling import identities_of_ranks
from pipeline.models.reid import ReIDOutput
from pipeline.training.gathering import gather_rows, mean_over_ranks
from pipeline.training.objective import Objective, modality_of_ranks

IDENTITIES, IMAGES, CLASSES = 5, 2, 7
SETTINGS = load_config([f"batch.ids_per_batch={IDENTITIES}", f"batch.images_per_modality={IMAGES}"])


def part(begin, end):
    """Output and batch of the identities begin .. end of one global batch, the rows of a modality together."""
    generator = torch.Generator().manual_seed(0)
    shape = (4, IDENTITIES * IMAGES)
    pooled, logits = (torch.randn(*shape, size, generator=generator) for size in (6, CLASSES))
    mine = slice(begin * IMAGES, end * IMAGES)
    count = (end - begin) * IMAGES
    labels = torch.arange(IDENTITIES).repeat_interleave(IMAGES)[mine].repeat(4)
    modality = tuple(int(kind) for kind in Modality for _ in range(count))
    pooled, logits = pooled[:, mine].reshape(-1, 6), logits[:, mine].reshape(-1, CLASSES)
    return ReIDOutput(pooled, pooled, logits), Batch(
        torch.empty(len(labels), 3, 2, 2), labels, labels, labels, modality, labels
    )


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_identities_are_shared_evenly(ranks):
    shares = identities_of_ranks(5, ranks)
    assert sum(shares) == 5 and len(shares) == ranks and max(shares) - min(shares) <= 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_with_local_mining_the_mean_over_ranks_weighs_each_by_its_rows(reduction):
    settings = load_config([f"loss.reduction={reduction}", "loss.mining=local", f"batch.ids_per_batch={IDENTITIES}"])
    objectives = [build_objective(settings, rank, 2) for rank in range(2)]
    bounds = [(0, 3), (3, 5)]
    found = torch.stack([objective(*part(*bound))["loss"] for objective, bound in zip(objectives, bounds, strict=True)])
    alone = [Objective(objectives[0].loss, "local", [end - begin])(*part(begin, end)) for begin, end in bounds]
    identity = (3 * alone[0]["identity"] + 2 * alone[1]["identity"]) / 5
    metric = [one["intra"] + one["cross"] for one in alone]
    metric = metric[0] + metric[1] if reduction == "sum" else (3 * metric[0] + 2 * metric[1]) / 5
    torch.testing.assert_close(found.mean(), identity + metric)


def test_one_rank_has_the_plain_loss_whatever_the_mining():
    output, batch = part(0, IDENTITIES)
    expected = build_objective(SETTINGS).loss(output.logits, batch.label, output.pooled, batch.label, batch.modality)
    for mining in ("global", "local"):
        found = build_objective(load_config([f"loss.mining={mining}", f"batch.ids_per_batch={IDENTITIES}"]))(
            output, batch
        )
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_modalities_of_all_ranks_stand_as_their_rows_do():
    assert modality_of_ranks((0, 0, 3, 3), [4, 2]) == [0, 0, 3, 3, 0, 3]


def test_one_process_gathers_itself():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows, [3]) is rows
    assert mean_over_ranks(rows) is rows
    with pytest.raises(AssertionError, match="not as many rows as announced"):
        gather_rows(rows, [4])
