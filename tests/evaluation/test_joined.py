"""Features of several parts, and the sums of similarity matrices that they stand for."""

import itertools

import pytest
import torch
from accelerate import Accelerator
from torch.nn.functional import normalize

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.features import network_extractor
from pipeline.models.heads import Feature
from pipeline.models.reid import ReIDOutput

NAMES, WIDTH = ("global", "stripes_0", "stripes_1"), 5


class Parts(torch.nn.Module):
    """A network of three features, of other lengths each; of rows of another modality and of mirror images it gives
    others."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.matrices = torch.randn(len(NAMES), 12, 2 * WIDTH, generator=generator)

    def forward(self, images, modality):
        features = {}
        for place, name in enumerate(NAMES):
            found = (10.0**place) * images.flatten(1) @ self.matrices[place] + float(modality[0])
            features[name] = Feature(found[:, :WIDTH], found[:, WIDTH:], None)
        return ReIDOutput(features)


NETWORK = Parts()
LEARNED = ["derive.visible=learned", "derive.infrared=learned", "model.stems=modality"]


def images(count, seed):
    return torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(seed))


QUERY, GALLERY = (images(6, 1), Modality.INFRARED), (images(9, 2), Modality.VISIBLE)


def similarities(*arguments):
    """Those of the query to the gallery that the settings lead to: (6, 9)."""
    settings = load_config([*LEARNED, *(f"evaluation.{argument}" for argument in arguments)])
    extract = network_extractor(NETWORK, settings, Accelerator(cpu=True))
    return -DISTANCES[settings.evaluation.metric](extract(*GALLERY))(extract(*QUERY))


def of(side, name, kind, mirrored=False, derived=False):
    """One feature of the network for query or gallery, as it is."""
    shown, modality = side
    row = Modality.from_name(f"{modality.key}_derived") if derived else modality
    return getattr(NETWORK(shown.flip(-1) if mirrored else shown, [row]).features[name], kind)


def matrix(one, other):
    return normalize(one) @ normalize(other).T


KINDS = {"embedding": ["embedding"], "pooled": ["pooled"], "both": ["pooled", "embedding"]}


@pytest.mark.parametrize("feature", KINDS)
@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_a_summed_similarity_is_the_sum_of_the_matrices_of_all_features(feature, metric):
    """DEEN's test sums six: before and after the neck, of three versions."""
    parts = [*itertools.product(NAMES, KINDS[feature])]
    expected = sum(matrix(of(QUERY, *part), of(GALLERY, *part)) for part in parts)
    found = similarities(f"feature={feature}", "similarity=summed", f"metric={metric}")
    torch.testing.assert_close(found if metric == "dot" else (found + 1) * len(parts), expected)


@pytest.mark.parametrize("feature", KINDS)
def test_with_mirror_images_it_is_the_sum_over_all_pairs_of_views(feature):
    expected = sum(
        matrix(of(QUERY, *part, mirrored=one), of(GALLERY, *part, mirrored=other))
        for part in itertools.product(NAMES, KINDS[feature])
        for one in (False, True)
        for other in (False, True)
    )
    found = similarities(f"feature={feature}", "similarity=summed", "metric=dot", "flip=true")
    torch.testing.assert_close(4 * found, expected)


def test_both_are_the_sum_of_the_matrices_before_and_after_the_neck():
    whole = {
        kind: [torch.cat([of(side, name, kind) for name in NAMES], 1) for side in (QUERY, GALLERY)]
        for kind in KINDS["both"]
    }
    expected = sum(matrix(*sides) for sides in whole.values())
    torch.testing.assert_close(2 * (similarities("feature=both") + 1), expected)
    assert (similarities("feature=both") - similarities("feature=both", "similarity=summed")).abs().max() > 0.05


def test_both_with_mirror_images_average_before_the_length_is_taken():
    def averaged(side, kind):
        views = [torch.cat([of(side, name, kind, mirrored) for name in NAMES], 1) for mirrored in (False, True)]
        return sum(views) / 2

    expected = sum(matrix(averaged(QUERY, kind), averaged(GALLERY, kind)) for kind in KINDS["both"])
    torch.testing.assert_close(2 * (similarities("feature=both", "flip=true") + 1), expected)


def test_the_mean_of_image_and_derivative_with_dot_is_the_sum_of_four_matrices():
    """MMN's test: recorded or middle image of the query, to the recorded or middle image of the gallery."""

    def whole(side, derived):
        return torch.cat([of(side, name, "embedding", derived=derived) for name in NAMES], 1)

    pairs = itertools.product((False, True), repeat=2)
    expected = sum(matrix(whole(QUERY, one), whole(GALLERY, other)) for one, other in pairs)
    torch.testing.assert_close(4 * similarities("fusion=mean", "metric=dot"), expected)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fusion", ["none", "mean", "concatenate"])
def test_a_sum_is_over_all_views_whatever_is_fused(flip, fusion):
    """Of each view of the query with each of the gallery; concatenated, each with its like alone."""
    mirrored = (False, True) if flip else (False,)
    derived = (False,) if fusion == "none" else (False, True)
    expected = sum(
        matrix(of(QUERY, name, "embedding", *one), of(GALLERY, name, "embedding", *other))
        for name in NAMES
        for one in itertools.product(mirrored, derived)
        for other in itertools.product(mirrored, derived)
        if fusion != "concatenate" or one[1] == other[1]
    )
    found = similarities("similarity=summed", "metric=dot", f"flip={str(flip).lower()}", f"fusion={fusion}")
    pairs = len(mirrored) ** 2 * (len(derived) ** 2 if fusion == "mean" else 1)
    torch.testing.assert_close(pairs * found, expected)


def test_the_default_is_the_embedding_as_it_is():
    settings = load_config([])
    extract = network_extractor(NETWORK, settings, Accelerator(cpu=True))
    expected = NETWORK(GALLERY[0], [GALLERY[1]]).embedding
    assert torch.equal(extract(*GALLERY), expected)
    mirrored = NETWORK(GALLERY[0].flip(-1), [GALLERY[1]]).embedding
    extract = network_extractor(NETWORK, load_config(["evaluation.flip=true"]), Accelerator(cpu=True))
    assert torch.equal(extract(*GALLERY), (expected + mirrored) / 2)
