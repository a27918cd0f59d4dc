import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline.datasets.sysu.protocol import exclude_same_place
from pipeline.evaluation.scoring import score_trials
from pipeline.figures import ranked_lists, style
from pipeline.figures.evaluated_run import EvaluatedRun, evaluate_run
from pipeline.figures.ranked_lists import RankedList, draw_ranked_lists, hardest_queries, random_queries, rank_queries
from pipeline.loading.images import open_images
from pipeline.protocols import Trial
from pipeline.settings import Settings


def average_precision(right):
    places = np.flatnonzero(right) + 1
    return np.mean([(number + 1) / place for number, place in enumerate(places)]) if len(places) else np.nan


@pytest.fixture(scope="module")
def drawn():
    """A run that needs no network: random features, SYSU-MM01's cameras, with a place that cameras 2 and 3 share."""
    generator = np.random.default_rng(0)
    camera = generator.choice([1, 2, 3, 4, 6], 150)
    index = pd.DataFrame(
        {"identity": generator.integers(1, 9, 150), "camera": camera, "modality": np.isin(camera, (3, 6)).astype(int)}
    )
    features = torch.from_numpy(generator.normal(size=(150, 5))).float()
    query, gallery = (np.flatnonzero(index["modality"] == modality) for modality in (1, 0))
    trials = [Trial(query, gallery, exclude_same_place, True, {"mode": "all", "shots": "single", "direction": "x"})]
    scores = score_trials(features, index, trials)
    return EvaluatedRun(Settings(), index, np.arange(150), features, trials, scores, None, None)


def plain_list(run, query):
    """The ranked gallery as rows of the index, by loops."""
    found = []
    unit = (run.features / run.features.norm(dim=1, keepdim=True)).double()
    for row in run.trials[0].gallery:
        if run.index["camera"][query] == 3 and run.index["camera"][row] == 2:
            continue
        found.append((1 - float(unit[query] @ unit[row]), int(row)))
    return [row for _, row in sorted(found)]


def test_the_first_ten_are_those_of_a_plain_loop_without_the_excluded(drawn):
    (trial,), identity, camera = drawn.trials, drawn.index["identity"], drawn.index["camera"]
    assert (camera[trial.query] == 3).any() and (camera[trial.gallery] == 2).any()
    for place, found in enumerate(rank_queries(drawn, 0, np.arange(len(trial.query)))):
        query = int(trial.query[place])
        expected = plain_list(drawn, query)
        right = [identity[row] == identity[query] for row in expected]
        assert found.query == query and found.gallery.tolist() == expected[:10]
        assert found.right.tolist() == right[:10]
        assert found.average_precision == pytest.approx(average_precision(right), nan_ok=True)


def test_fewer_than_ten_are_shown_where_no_more_may_be(drawn):
    distances, excluded = torch.rand(2, 6), torch.zeros(2, 6, dtype=torch.bool)
    excluded[1, :4] = True
    first, second = ranked_lists.nearest(distances, excluded, 10)
    assert first.tolist() == distances[0].argsort().tolist()
    assert sorted(second.tolist()) == [4, 5]
    (tied,) = ranked_lists.nearest(torch.zeros(1, 6), excluded[:1], 3)
    assert tied.tolist() == [0, 1, 2]


def test_the_hardest_queries_are_the_worst_that_are_counted():
    values = np.array([0.5, np.nan, 0.1, 0.9, 0.1, 0.3])
    assert hardest_queries(values, 3).tolist() == [2, 4, 5]
    assert hardest_queries(values, 99).tolist() == [2, 4, 5, 0, 3]


def test_random_queries_are_counted_different_and_the_same_for_a_seed():
    values = np.where(np.arange(50) % 2, np.nan, 0.5)
    found = random_queries(values, 10, seed=3)
    assert len(set(found)) == 10 and not np.isnan(values[found]).any()
    assert random_queries(values, 10, seed=3).tolist() == found.tolist() != random_queries(values, 10, seed=4).tolist()
    assert len(random_queries(values, 99, seed=0)) == 25


@pytest.mark.parametrize(
    "argument", ["evaluation.metric=cosine", "evaluation.metric=euclidean", "evaluation.re_ranking=k_reciprocal"]
)
def test_a_list_is_the_one_that_the_metrics_are_of(run, argument, monkeypatch):
    monkeypatch.setattr(ranked_lists, "FIRST", 1000)
    evaluated = evaluate_run([str(run), argument])
    for number, (trial, scores) in enumerate(zip(evaluated.trials, evaluated.scores, strict=True)):
        for place, found in enumerate(rank_queries(evaluated, number, np.arange(len(trial.query)))):
            assert sorted(found.gallery) == sorted(trial.gallery)
            assert average_precision(found.right) == pytest.approx(scores.average_precision[place])


def edge(pixels, left, top):
    """The pixels of the left edge of an image's place (millimetres), without its corners."""
    column, first, last = (int(size * style.RESOLUTION / 25.4) for size in (left, top + 1, top + 12))
    return pixels[first:last, column]


def share_of(pixels, color):
    wanted = [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    return (abs(pixels.astype(int) - wanted).max(axis=1) < 40).mean()


def test_right_ones_are_framed_green_and_wrong_ones_red_and_dashed(evaluated, tmp_path):
    visible, infrared = (np.flatnonzero(evaluated.index["modality"] == modality) for modality in (0, 1))
    right = np.array([True, False, False, True, False, True, True, False])
    lists = [
        RankedList(int(infrared[0]), visible[:8], right, 0.5),
        RankedList(int(infrared[1]), visible[:8], ~right, 1),
    ]
    images = open_images(evaluated.settings.data.root, evaluated.index)
    paths = style.save(draw_ranked_lists(lists, evaluated, images), tmp_path, "lists")
    pixels = np.asarray(Image.open(paths[0]).convert("RGB"))
    for number, ranked in enumerate(lists):
        top = ranked_lists.HEAD + number * ranked_lists.TALL
        assert share_of(edge(pixels, ranked_lists.QUERY_LEFT, top), style.INK) == 1
        for place, is_right in enumerate(ranked.right):
            found = edge(pixels, ranked_lists.gallery_left(place), top)
            green, red = share_of(found, style.RIGHT), share_of(found, style.WRONG)
            assert (green == 1 and red == 0) if is_right else (green == 0 and 0.4 < red < 0.9), (number, place)
        for place in (8, 9):
            assert (edge(pixels, ranked_lists.gallery_left(place), top) == 255).all()
