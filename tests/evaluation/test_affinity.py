import pytest
import torch

from pipeline.evaluation import ranking
from pipeline.evaluation.affinity import aim_distances
from pipeline.evaluation.distances import DISTANCES


def unit(vector):
    length = sum(value * value for value in vector) ** 0.5
    return [value / length if length else 0.0 for value in vector]


def cosine(a, b):
    return sum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def reference(query, gallery, k1, k2):
    """The paper's steps, image by image, with lists."""
    query, gallery = query.tolist(), gallery.tolist()

    def affinities(image):
        found = [cosine(image, other) for other in gallery]
        smallest = sorted(found, reverse=True)[:k1][-1]
        return [value if value >= smallest else 0.0 for value in found]

    def averaged(image):
        found = [cosine(image, other) for other in gallery]
        near = sorted(range(len(gallery)), key=lambda other: -found[other])[:k2]
        columns = zip(*(affinities(gallery[other]) for other in near), strict=True)
        return [sum(column) / len(near) for column in columns]

    inferred = [averaged(image) for image in gallery]

    def distance(one, place):
        return -cosine(one, gallery[place]) - cosine(affinities(one), inferred[place])

    found = [[distance(one, place) for place in range(len(gallery))] for one in query]
    return torch.tensor(found, dtype=torch.float64)


def draw(queries, images, seed=0):
    """Features of a few people whose queries are all moved by the same vector, as by another modality."""
    generator = torch.Generator().manual_seed(seed)
    count = queries + images
    centers = torch.randn(max(2, count // 6), 8, generator=generator, dtype=torch.float64)
    people = torch.randint(len(centers), (count,), generator=generator)
    features = centers[people] + 0.5 * torch.randn(count, 8, generator=generator, dtype=torch.float64)
    return features[:queries] + torch.randn(8, generator=generator, dtype=torch.float64), features[queries:]


@pytest.mark.parametrize(
    ("queries", "images", "k1", "k2"),
    [(9, 24, 4, 1), (7, 15, 6, 3), (5, 4, 20, 6), (5, 8, 8, 8), (3, 6, 1, 1), (1, 1, 4, 1)],
)
def test_equals_the_loops(queries, images, k1, k2):
    for seed in range(2):
        query, gallery = draw(queries, images, seed)
        found = aim_distances(query, gallery, k1=k1, k2=k2)
        assert found.shape == (queries, images) and found.dtype == torch.float64
        torch.testing.assert_close(found, reference(query, gallery, k1, k2), rtol=0, atol=1e-12)


def test_any_block_gives_the_same(monkeypatch):
    query, gallery = draw(30, 40)
    expected = aim_distances(query, gallery, k1=7, k2=3)
    for pairs in (8, 1000):
        monkeypatch.setattr(ranking, "PAIRS", pairs)
        torch.testing.assert_close(aim_distances(query, gallery, k1=7, k2=3), expected, rtol=0, atol=1e-12)


def test_single_precision_stays_and_is_near():
    query, gallery = draw(30, 40)
    found = aim_distances(query.float(), gallery.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), aim_distances(query, gallery), rtol=0, atol=1e-5)


def test_lengths_do_not_count_and_features_are_left_unchanged():
    query, gallery = draw(5, 12)
    copies = query.clone(), gallery.clone()
    scale = torch.arange(1, 13, dtype=torch.float64)[:, None]
    torch.testing.assert_close(aim_distances(7 * query, scale * gallery), aim_distances(query, gallery))
    assert (query == copies[0]).all() and (gallery == copies[1]).all()


def test_equal_features_stay_equally_far():
    torch.testing.assert_close(aim_distances(torch.ones(3, 4), torch.ones(5, 4)), torch.full((3, 5), -2.0))


def test_images_near_to_what_a_query_is_nearest_to_come_before_strangers():
    query = torch.tensor([[0.9, 0.436, 0.0]])
    same, stranger = [[1.0, 0.0, 0.0], [1.0, 0.1, 0.0], [0.9, -0.436, 0.0]], [[0.286, 0.9, 0.33]]
    gallery = torch.tensor(same + stranger)
    assert DISTANCES["cosine"](gallery)(query).argsort().tolist() == [[1, 0, 3, 2]]
    assert aim_distances(query, gallery, k1=2).argsort().tolist() == [[1, 0, 2, 3]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k1": 0}, "evaluation.aim_k1: expected a number of at least 1; found 0"),
        ({"k2": 0}, "evaluation.aim_k2: expected a number from 1 to aim_k1, 4; found 0"),
        ({"k2": 5}, "evaluation.aim_k2: expected a number from 1 to aim_k1, 4; found 5"),
        ({"metric": "dot"}, "evaluation.metric: expected cosine for re_ranking=aim; found dot"),
    ],
)
def test_raises_for_wrong_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        aim_distances(torch.eye(3), torch.eye(3), **options)


def test_raises_for_features_that_cannot_be_compared():
    features = torch.eye(3)
    for gallery in (features[:, :2], features[:0], features[0]):
        with pytest.raises(ValueError, match=r"features: expected \(queries, D\) and \(gallery, D\), at least one"):
            aim_distances(features, gallery)
    with pytest.raises(ValueError, match="gallery features: 3 of 3 rows hold values that aren't finite"):
        aim_distances(features, features / 0)
    with pytest.raises(ValueError, match="too large"):
        aim_distances(torch.full((1, 4), 1e30), torch.ones(2, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same():
    query, gallery = draw(50, 60)
    found = aim_distances(query.cuda(), gallery.cuda(), k1=7, k2=3)
    torch.testing.assert_close(found.cpu(), aim_distances(query, gallery, k1=7, k2=3), rtol=0, atol=1e-9)
