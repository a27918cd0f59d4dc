import math

import pytest
import torch

from pipeline.evaluation import rerank
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.rerank import k_reciprocal_distances


def reference(query, gallery, k1, k2, weight, metric):
    """The paper's steps, image by image, with sets and dictionaries."""
    images = [*query.double(), *gallery.double()]

    def distance(a, b):
        return float(1 - a @ b / (a.norm() * b.norm()) if metric == "cosine" else ((a - b) ** 2).sum())

    distances = [[0.0 if a is b else distance(a, b) for b in images] for a in images]
    distances = [[value / max(row) for value in row] for row in distances]
    numbers = range(len(images))
    ranked = [sorted(numbers, key=lambda j, i=i: (j != i, distances[i][j])) for i in numbers]

    def reciprocal(i, k):
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    encodings = []
    for i in numbers:
        own = reciprocal(i, k1)
        expanded = set(own)
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if 3 * len(theirs & own) > 2 * len(theirs):
                expanded |= theirs
        weights = {j: math.exp(-distances[i][j]) for j in expanded}
        encodings.append({j: value / sum(weights.values()) for j, value in weights.items()})
    averaged = []
    for i in numbers:
        near = [encodings[j] for j in ranked[i][:k2]]
        averaged.append({j: sum(one.get(j, 0) for one in near) / len(near) for one in near for j in one})

    def jaccard(a, b):
        keys = a.keys() | b.keys()
        smaller, larger = (sum(f(a.get(j, 0), b.get(j, 0)) for j in keys) for f in (min, max))
        return 1 - smaller / larger

    return torch.tensor(
        [
            [
                (1 - weight) * jaccard(averaged[q], averaged[g]) + weight * distances[q][g]
                for g in range(len(query), len(images))
            ]
            for q in range(len(query))
        ]
    )


def draw(queries, images, seed=0):
    """Features of a few people, in float64 so that no two distances are equal."""
    generator = torch.Generator().manual_seed(seed)
    count = queries + images
    centers = torch.randn(max(2, count // 6), 8, generator=generator, dtype=torch.float64)
    people = torch.randint(len(centers), (count,), generator=generator)
    features = centers[people] + 0.5 * torch.randn(count, 8, generator=generator, dtype=torch.float64)
    return features[:queries], features[queries:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("queries", "images", "k1", "k2", "weight"),
    [
        (40, 60, 20, 6, 0.3),
        (30, 50, 7, 3, 0.3),
        (25, 35, 5, 1, 0.5),
        (9, 8, 20, 6, 0.3),  # fewer images than neighbours asked for
        (12, 14, 2, 9, 0.1),
        (12, 14, 1, 40, 0),
        (20, 20, 10, 4, 1),
        (1, 1, 20, 6, 0.3),
    ],
)
def test_equals_the_loops(queries, images, k1, k2, weight, metric):
    for seed in range(2):
        query, gallery = draw(queries, images, seed)
        found = k_reciprocal_distances(query, gallery, k1=k1, k2=k2, weight=weight, metric=metric)
        assert found.shape == (queries, images) and found.dtype == torch.float64
        torch.testing.assert_close(found, reference(query, gallery, k1, k2, weight, metric).double(), rtol=0, atol=1e-6)


def test_any_block_gives_the_same(monkeypatch):
    query, gallery = draw(30, 40)
    expected = k_reciprocal_distances(query, gallery)
    for pairs in (8, 1000, 20000):
        monkeypatch.setattr("pipeline.evaluation.ranking.PAIRS", pairs)
        monkeypatch.setattr(rerank, "PAIRS", pairs)
        torch.testing.assert_close(k_reciprocal_distances(query, gallery), expected, rtol=0, atol=1e-12)


def test_single_precision_stays_and_is_near():
    query, gallery = draw(30, 40)
    found = k_reciprocal_distances(query.float(), gallery.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), k_reciprocal_distances(query, gallery), rtol=0, atol=1e-5)


def test_cosine_is_euclidean_of_unit_length():
    query, gallery = draw(20, 30)
    unit = [torch.nn.functional.normalize(features, dim=1) for features in (query, gallery)]
    cosine, euclidean = k_reciprocal_distances(query, gallery), k_reciprocal_distances(*unit, metric="euclidean")
    torch.testing.assert_close(cosine, euclidean, rtol=0, atol=1e-9)


def test_the_original_distance_alone():
    query, gallery = draw(20, 30)
    everything = torch.cat([query, gallery])
    distances = DISTANCES["cosine"](everything)(everything)
    expected = (distances / distances.amax(dim=1, keepdim=True))[:20, 20:]
    torch.testing.assert_close(k_reciprocal_distances(query, gallery, weight=1), expected)


def test_equal_features_are_at_no_distance():
    found = k_reciprocal_distances(torch.ones(3, 4), torch.ones(5, 4))
    torch.testing.assert_close(found, torch.zeros(3, 5), rtol=0, atol=1e-6)


def test_features_are_left_unchanged():
    query, gallery = draw(5, 6)
    copies = query.clone(), gallery.clone()
    k_reciprocal_distances(query, gallery, metric="euclidean")
    assert (query == copies[0]).all() and (gallery == copies[1]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "evaluation.re_ranking_k1: expected a number of at least 1; found 0"),
        ({"k2": -1}, "evaluation.re_ranking_k2: expected a number of at least 1; found -1"),
        ({"weight": 1.5}, "evaluation.re_ranking_weight: expected a number from 0 to 1; found 1.5"),
        ({"metric": "dot"}, "evaluation.metric: expected cosine or euclidean for re_ranking=k_reciprocal; found dot"),
        ({"metric": "manhattan"}, "evaluation.metric: expected one of cosine, euclidean, dot; found 'manhattan'"),
    ],
)
def test_raises_for_wrong_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        k_reciprocal_distances(torch.eye(3), torch.eye(3), **options)


def test_raises_for_features_that_cannot_be_compared():
    features = torch.eye(3)
    for gallery in (features[:, :2], features[:0], features[0]):
        with pytest.raises(ValueError, match=r"features: expected \(queries, D\) and \(gallery, D\), at least one"):
            k_reciprocal_distances(features, gallery)
    with pytest.raises(ValueError, match="gallery features: 3 of 3 rows hold values that aren't finite"):
        k_reciprocal_distances(features, features / 0)
    with pytest.raises(ValueError, match="too large"):
        k_reciprocal_distances(features * 1e30, features, metric="euclidean")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    query, gallery = draw(50, 60)
    found = k_reciprocal_distances(query.cuda(), gallery.cuda())
    torch.testing.assert_close(found.cpu(), k_reciprocal_distances(query, gallery), rtol=0, atol=1e-9)
