from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from pipeline.figures import style
from pipeline.figures.evaluated_run import LeftOut
from pipeline.figures.t_sne import MOST, MOST_PEOPLE, choose_rows, draw_t_sne, embed, t_sne


def make_index(people=12, each=25):
    identity = np.repeat(np.arange(people), 2 * each)
    return pd.DataFrame({"identity": identity, "modality": np.tile(np.repeat([0, 1], each), people)})


def test_rows_are_of_the_number_of_people_asked_for_in_both_modalities():
    index = make_index()
    one_modality = index.index[(index["identity"] == 3) & (index["modality"] == 1)]
    rows = np.setdiff1d(np.arange(len(index)), one_modality)
    chosen = index.iloc[choose_rows(index, rows, 11, seed=0)]
    assert set(chosen["identity"]) == set(range(12)) - {3}
    assert (chosen.groupby(["identity", "modality"]).size() == MOST).all()
    assert chosen.index.is_unique and set(chosen.index) <= set(rows)
    again, other = choose_rows(index, rows, 4, seed=1), choose_rows(index, rows, 4, seed=2)
    assert index["identity"][again].nunique() == 4
    assert choose_rows(index, rows, 4, seed=1).tolist() == again.tolist() != other.tolist()
    assert len(choose_rows(index, one_modality.to_numpy(), 4, seed=0)) == 0


@pytest.mark.parametrize("count", [3, 4, 60])
@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_points_are_the_same_for_a_seed_however_few_they_are(count, metric):
    features = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    points = embed(features, metric, 0)
    assert points.shape == (count, 2) and np.isfinite(points).all()
    np.testing.assert_array_equal(embed(features, metric, 0), points)


def test_people_that_are_far_apart_stay_apart():
    generator, identity = np.random.default_rng(0), np.repeat([0, 1], 30)
    features = generator.normal(size=(60, 8)) + 20 * identity[:, None]
    points = embed(features.astype(np.float32), "euclidean", 0)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag([np.inf] * 60)
    assert (identity[distances.argmin(axis=1)] == identity).all()


def test_no_two_people_look_alike_and_no_modality_like_the_other():
    people = np.repeat(np.arange(MOST_PEOPLE), 2)
    modality = np.tile([0, 1], MOST_PEOPLE)
    points = np.random.default_rng(0).normal(size=(len(people), 2))
    figure = draw_t_sne(points, people, modality, {number: f"{number}" * 40 for number in people})
    looks = set()
    for line in figure.axes[0].get_lines():
        hollow = line.get_markerfacecolor() == "none"
        looks.add((line.get_marker(), hollow, line.get_markeredgecolor() if hollow else line.get_markerfacecolor()))
    assert len(looks) == 2 * MOST_PEOPLE
    assert {to_hex(color).upper() for *_, color in looks} == {color.upper() for color in style.PALETTE}


def test_features_that_are_all_the_same_are_left_out(evaluated):
    with pytest.raises(LeftOut, match="are all the same"):
        t_sne([replace(evaluated, features=torch.ones_like(evaluated.features))], 3, 0)
    with pytest.raises(LeftOut, match="0 test images"):
        t_sne([replace(evaluated, rows=evaluated.rows[:0])], 3, 0)
