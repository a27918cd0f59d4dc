import numpy as np
import pytest
import torch

from pipeline.batch import Modality
from pipeline.figures import distances as module
from pipeline.figures.distances import BINS, PAIRS, draw_distances, histograms, shares

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED


def slow_histograms(features, identity, modality, metric):
    """Every pair by itself."""
    values = {pair: ([], []) for pair in PAIRS}
    for first in range(len(features)):
        for second in range(first + 1, len(features)):
            a, b = features[first], features[second]
            if metric == "cosine":
                distance = 1 - (a @ b) / (np.linalg.norm(a) * np.linalg.norm(b))
            else:
                distance = -(a @ b) if metric == "dot" else ((a - b) ** 2).sum()
            pair = tuple(sorted((Modality(modality[first]), Modality(modality[second]))))
            values[pair][int(identity[first] != identity[second])].append(distance)
    return values


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_every_pair_is_counted_once_in_its_bin(metric, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 6))
    identity, modality = generator.integers(0, 5, 60), generator.integers(0, 2, 60)
    edges, found = histograms(torch.from_numpy(features), identity, modality, metric)
    expected = slow_histograms(features, identity, modality, metric)
    everything = np.concatenate([part for pair in expected.values() for part in pair])
    assert (edges[0], edges[-1]) == pytest.approx((everything.min(), everything.max())) and len(edges) == BINS + 1
    for pair, (same, different) in expected.items():
        for counts, values in ((found[pair].same, same), (found[pair].different, different)):
            assert counts.sum() == len(values)
            # A distance within rounding of an edge may be on either side of it.
            cumulative = [np.sum(np.array(values) < edge) for edge in edges[1:-1]]
            assert abs(counts.cumsum()[:-1] - cumulative).max() <= 1
    counted = found[VISIBLE, VISIBLE].same.sum() + found[VISIBLE, VISIBLE].different.sum()
    assert counted == (modality == 0).sum() * ((modality == 0).sum() - 1) / 2
    assert (found[VISIBLE, INFRARED].same + found[VISIBLE, INFRARED].different).sum() == (modality == 0).sum() * (
        modality == 1
    ).sum()


def test_shares_are_per_cent_of_all_pairs():
    assert shares(np.array([1, 3, 0])).tolist() == [25, 75, 0]
    assert shares(np.zeros(3, dtype=np.int64)).tolist() == [0, 0, 0]


def test_a_panel_for_each_pair_of_modalities_also_where_all_distances_are_equal():
    features = torch.ones(6, 3)
    edges, found = histograms(features, np.array([0, 0, 1, 0, 0, 1]), np.array([0, 0, 0, 1, 1, 1]), "cosine")
    assert found[VISIBLE, INFRARED].same.sum() == 5 and found[VISIBLE, INFRARED].different.sum() == 4
    figure = draw_distances(edges, found, "cosine")
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "visible",
        "infrared",
        "visible to infrared",
    ]
