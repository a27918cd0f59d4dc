from dataclasses import fields
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.datasets.llcm import exclude_same_identity_and_camera
from pipeline.datasets.sysu.protocol import exclude_same_place
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.ranking import rank, rank_distances
from pipeline.evaluation.rerank import k_reciprocal_distances
from pipeline.evaluation.scoring import score_trials
from pipeline.protocols import Trial, exclude_none

EXCLUSIONS = [exclude_none, exclude_same_place, exclude_same_identity_and_camera]


def make_index(generator: np.random.Generator, count: int = 160) -> pd.DataFrame:
    columns = {
        name: generator.integers(low, high, count) for name, low, high in (("identity", 3, 15), ("camera", 1, 7))
    }
    modality = np.isin(columns["camera"], (3, 6)).astype(np.int64)
    return pd.DataFrame({**columns, "modality": modality, "split": "test"})


def make_trials(generator: np.random.Generator, index: pd.DataFrame) -> list[Trial]:
    """Of all kinds mixed: both directions, every rule, whole and sampled sides, rows in no order, a query twice."""
    sides = [np.flatnonzero(index["modality"] == modality) for modality in (0, 1)]
    made = []
    for number in range(12):
        query, gallery = sides if number % 2 else sides[::-1]
        query = query if number % 3 else generator.choice(query, 25)
        gallery = generator.permutation(gallery)[: int(generator.integers(15, len(gallery) + 1))]
        exclusion = EXCLUSIONS[number % len(EXCLUSIONS)]
        made.append(Trial(query, gallery, exclusion, bool(number % 4 < 2), {"trial": number}))
    return made


def check(found, expected):
    for field in fields(expected):
        one, other = (getattr(scores, field.name) for scores in (found, expected))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12, err_msg=field.name)


def one_by_one(features, index, trials, metric="cosine", re_ranking=None):
    """Each trial for itself, as `rank` has it."""
    identity, camera = index["identity"].to_numpy(), index["camera"].to_numpy()
    for trial in trials:
        identities = identity[trial.query], identity[trial.gallery]
        excluded = trial.exclusion(identities[0], camera[trial.query], identities[1], camera[trial.gallery])
        query, gallery = features[trial.query], features[trial.gallery]
        if re_ranking is None:
            yield rank(query, gallery, *identities, excluded, metric=metric, deduplicate=trial.deduplicate)
        else:
            distances = re_ranking(query, gallery, metric=metric)
            yield rank_distances(distances, *identities, excluded, deduplicate=trial.deduplicate)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("metric", list(DISTANCES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_every_trial_for_itself(seed, metric, dtype):
    generator = np.random.default_rng(seed)
    index = make_index(generator)
    trials = make_trials(generator, index)
    # Rows of four +-1, of length 2: exact in every precision, so that equal distances are equal, and many.
    features = torch.from_numpy(generator.choice([-1.0, 1.0], size=(len(index), 4))).to(dtype)
    expected = list(one_by_one(features, index, trials, metric))
    for block in (None, 13):
        for found, scores in zip(
            score_trials(features, index, trials, metric=metric, block=block), expected, strict=True
        ):
            check(found, scores)


def test_re_ranks_every_trial_for_itself():
    generator = np.random.default_rng(1)
    index = make_index(generator)
    trials = make_trials(generator, index)[1:6]
    features = torch.from_numpy(generator.normal(size=(len(index), 6)))
    re_ranking = partial(k_reciprocal_distances, k1=8, k2=3)
    found = score_trials(features, index, trials, metric="euclidean", re_ranking=re_ranking)
    for one, other in zip(found, one_by_one(features, index, trials, "euclidean", re_ranking), strict=True):
        check(one, other)


def test_only_the_rows_of_the_trials_are_read():
    index = pd.DataFrame({"identity": [1, 2, 1, 2], "camera": [1, 1, 2, 2], "modality": [0, 0, 1, 1]})
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [float("nan"), 0.0]])
    trial = Trial(np.array([2]), np.array([1, 0]), exclude_none, False, {})
    (scores,) = score_trials(features, index, [trial])
    assert scores.mAP == 1 and scores.counted_queries == 1
    broken = Trial(np.array([2, 3]), np.array([1, 0]), exclude_none, False, {})
    with pytest.raises(ValueError, match="query features: 1 of 2 rows hold values that aren't finite"):
        score_trials(features, index, [trial, broken])
    assert score_trials(features, index, []) == []


def test_raises_for_what_does_not_fit():
    index = pd.DataFrame({"identity": [1, 2], "camera": [1, 2], "modality": [0, 1]})
    trial = Trial(np.array([0]), np.array([1]), exclude_none, False, {})
    with pytest.raises(ValueError, match=r"features: expected \(2, D\), a row an image; found \(3, 3\)"):
        score_trials(torch.eye(3), index, [trial])
    with pytest.raises(
        ValueError, match="evaluation.metric: expected one of cosine, euclidean, dot; found 'manhattan'"
    ):
        score_trials(torch.eye(2), index, [trial], metric="manhattan")
    with pytest.raises(ValueError, match="none of the 1 queries has a true match"):
        score_trials(torch.eye(2), index, [trial])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_metrics():
    generator = np.random.default_rng(0)
    index = make_index(generator)
    trials = make_trials(generator, index)
    features = torch.from_numpy(generator.choice([-1.0, 1.0], size=(len(index), 4))).float()
    for found, expected in zip(
        score_trials(features.cuda(), index, trials, block=50), score_trials(features, index, trials), strict=True
    ):
        check(found, expected)
