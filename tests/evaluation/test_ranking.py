import math
import warnings

import numpy as np
import pytest
import torch

from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.ranking import rank, rank_distances


def reference(distances, query_identities, gallery_identities, excluded, deduplicate, max_rank):
    """The metrics as the protocols state them, by plain loops."""
    cmc, precisions, penalties, first_ranks = np.zeros(max_rank), [], [], []
    for q, identity in enumerate(query_identities):
        ranked = sorted(range(len(gallery_identities)), key=lambda g: (distances[q][g], g))
        listed = [gallery_identities[g] for g in ranked if not excluded[q][g]]
        if identity not in listed:
            precisions.append(np.nan)
            penalties.append(np.nan)
            first_ranks.append(np.nan)
            continue
        places = [place for place, found in enumerate(listed, 1) if found == identity]
        precisions.append(sum(k / place for k, place in enumerate(places, 1)) / len(places))
        penalties.append(len(places) / places[-1])
        shown = list(dict.fromkeys(listed)) if deduplicate else listed
        first_ranks.append(shown.index(identity) + 1)
        for k in range(1, max_rank + 1):
            cmc[k - 1] += first_ranks[-1] <= k
    counted = sum(not np.isnan(value) for value in precisions)
    return cmc / counted, np.array(precisions), np.array(first_ranks, float), np.array(penalties), counted


def check(scores, expected):
    cmc, precisions, first_ranks, penalties, counted = expected
    np.testing.assert_allclose(scores.cmc, cmc, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scores.average_precision, precisions, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scores.first_match_rank, first_ranks, rtol=0, atol=0)
    np.testing.assert_allclose(scores.inverse_negative_penalty, penalties, rtol=0, atol=1e-12)
    assert abs(scores.mAP - np.nanmean(precisions)) < 1e-12
    assert abs(scores.mINP - np.nanmean(penalties)) < 1e-12
    assert scores.counted_queries == counted
    assert scores.cmc.dtype == np.float64


def signs(generator, count):
    """Rows of four +-1, of length 2: exact in every precision, so that equal distances are equal."""
    return torch.from_numpy(generator.choice([-1.0, 1.0], size=(count, 4)))


def distance(q, g, metric):
    """Of two vectors, but for a factor that changes no rank."""
    if metric == "cosine":
        return 1 - (q * g).sum() / math.sqrt((q * q).sum() * (g * g).sum())
    return -(q * g).sum() if metric == "dot" else ((q - g) ** 2).sum()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("deduplicate", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_loops_with_many_ties(seed, metric, deduplicate, dtype):
    generator = np.random.default_rng(seed)
    queries, images = 23, int(generator.integers(5, 60))
    query, gallery = signs(generator, queries).to(dtype), signs(generator, images).to(dtype)
    # Identities 10 and 11 are searched for but never there; others may be.
    query_identities, gallery_identities = generator.integers(2, 12, queries), generator.integers(0, 10, images)
    excluded = generator.random((queries, images)) < 0.3
    excluded[0] = True
    expected_distances = [[distance(q, g, metric) for g in gallery.numpy()] for q in query.numpy()]
    expected = reference(expected_distances, query_identities, gallery_identities, excluded, deduplicate, 20)
    for given in (excluded, torch.from_numpy(excluded), lambda rows: excluded[rows]):
        for block in (1, 7, 512):
            scores = rank(
                query,
                gallery,
                query_identities,
                gallery_identities,
                given,
                metric=metric,
                deduplicate=deduplicate,
                block=block,
            )
            check(scores, expected)


@pytest.mark.parametrize("metric", list(DISTANCES))
def test_equals_the_loops_with_real_features(metric):
    generator = torch.Generator().manual_seed(0)
    query, gallery = (torch.randn(count, 16, generator=generator, dtype=torch.float64) for count in (31, 47))
    identities, gallery_identities = np.arange(31) % 7, np.arange(47) % 9
    distances = [[distance(q, g, metric) for g in gallery.numpy()] for q in query.numpy()]
    nothing = np.zeros((31, 47), bool)
    expected = reference(distances, identities, gallery_identities, nothing, True, 50)
    check(rank(query, gallery, identities, gallery_identities, metric=metric, max_rank=50), expected)
    check(rank_distances(torch.tensor(distances), identities, gallery_identities, block=4, max_rank=50), expected)


def test_equal_distances_keep_the_order_of_the_gallery():
    query, gallery = torch.ones(1, 2), torch.ones(40, 2)
    for place in (0, 1, 39):
        identities = np.arange(100, 140)
        identities[place] = 7
        scores = rank(query, gallery, [7], identities)
        assert scores.first_match_rank[0] == place + 1


def test_gallery_of_one_identity():
    scores = rank(torch.randn(3, 4), torch.randn(5, 4), [1, 2, 1], [1] * 5)
    assert scores.counted_queries == 2
    assert scores.mAP == scores.mINP == 1
    assert (scores.cmc == 1).all()
    np.testing.assert_array_equal(np.isnan(scores.average_precision), [False, True, False])


def test_deduplication_counts_an_identity_once():
    distances = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]])
    arguments = (distances, [3], [1, 1, 2, 3, 3])
    assert rank_distances(*arguments).first_match_rank[0] == 3
    scores = rank_distances(*arguments, deduplicate=False)
    assert scores.first_match_rank[0] == 4
    assert scores.mAP == pytest.approx((1 / 4 + 2 / 5) / 2)
    assert scores.mINP == pytest.approx(2 / 5)


def test_excluded_distances_may_be_infinite():
    distances = torch.tensor([[float("inf"), 0.2]])
    assert rank_distances(distances, [1], [2, 1], np.array([[True, False]])).cmc[0] == 1
    with pytest.raises(ValueError, match="aren't finite"):
        rank_distances(distances, [1], [2, 1])


def test_half_precision_features_and_autocast_are_ranked_in_float32():
    features = torch.tensor([[1.0, 0.0], [1.0, 2**-7], [1.0, 2**-6]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = rank(features[:1], features[[2, 1]], [5], [4, 5], metric="cosine")
    assert scores.first_match_rank[0] == 1
    assert rank(features[:1].half(), features[[2, 1]].half(), [5], [4, 5]).first_match_rank[0] == 1


def test_columns_of_a_data_frame_and_no_warning():
    identities = np.array([1, 2])
    identities.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rank(torch.eye(2), torch.eye(2), identities, identities).cmc[0] == 1


def test_features_are_left_unchanged():
    query, gallery = torch.full((1, 2), 3.0), torch.full((2, 2), 5.0)
    rank(query, gallery, [1], [1, 2])
    assert (query == 3).all() and (gallery == 5).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_raises_for_features_that_are_not_finite(value):
    gallery = torch.zeros(5, 3)
    gallery[1, 2] = gallery[3, 0] = gallery[3, 1] = value
    with pytest.raises(ValueError, match="gallery features: 2 of 5 rows"):
        rank(torch.zeros(2, 3), gallery, [1, 1], [1] * 5)
    with pytest.raises(ValueError, match="query features: 2 of 5 rows"):
        rank(gallery, torch.zeros(2, 3), [1] * 5, [1, 1])


@pytest.mark.parametrize("metric", list(DISTANCES))
def test_raises_for_features_whose_length_overflows(metric):
    with pytest.raises(ValueError, match="too large"):
        rank(torch.full((1, 4), 1e30), torch.full((2, 4), 1e30 if metric == "dot" else 1.0), [1], [1, 2], metric=metric)


def test_raises_for_what_cannot_be_measured():
    features = torch.eye(3)
    with pytest.raises(ValueError, match="none of the 3 queries"):
        rank(features, features, [1, 2, 3], [4, 5, 6])
    with pytest.raises(ValueError, match="none of the 3 queries"):
        rank(features, features, [1, 2, 3], [1, 2, 3], np.eye(3, dtype=bool))
    with pytest.raises(ValueError, match="none of the 0 queries"):
        rank(features[:0], features, [], [1, 2, 3])


def test_raises_for_shapes_that_do_not_fit():
    features = torch.eye(3)
    with pytest.raises(
        ValueError, match="evaluation.metric: expected one of cosine, euclidean, dot; found 'manhattan'"
    ):
        rank(features, features, [1, 2, 3], [1, 2, 3], metric="manhattan")
    with pytest.raises(ValueError, match=r"expected \(queries, D\)"):
        rank(features, features[:, :2], [1, 2, 3], [1, 2, 3])
    for query_identities, gallery_identities in (([1, 2], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 3]), ([1, 2, 3], [1, 2])):
        with pytest.raises(ValueError, match="distances: expected"):
            rank(features, features, query_identities, gallery_identities)
    for excluded in (np.zeros((3, 2), bool), np.zeros((2, 3), bool), np.zeros((3, 3))):
        with pytest.raises(ValueError, match="excluded pairs: expected bool"):
            rank(features, features, [1, 2, 3], [1, 2, 3], excluded)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_metrics():
    generator = np.random.default_rng(3)
    query, gallery = signs(generator, 200).float(), signs(generator, 150).float()
    identities, gallery_identities = generator.integers(0, 12, 200), generator.integers(0, 12, 150)
    excluded = generator.random((200, 150)) < 0.2
    on_cpu = rank(query, gallery, identities, gallery_identities, excluded, block=64)
    on_gpu = rank(query.cuda(), gallery.cuda(), identities, gallery_identities, excluded, block=64)
    np.testing.assert_array_equal(on_gpu.first_match_rank, on_cpu.first_match_rank)
    np.testing.assert_allclose(on_gpu.average_precision, on_cpu.average_precision, rtol=0, atol=1e-12)
    np.testing.assert_allclose(on_gpu.cmc, on_cpu.cmc, rtol=0, atol=1e-12)
