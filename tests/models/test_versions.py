"""Networks whose backbone makes several versions of an image."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.figures.attention import last_activation
from pipeline.models.reid import ReIDNetwork
from tests.models.networks import make_network

ROWS = [int(modality) for modality in Modality for _ in range(2)]
IMAGES = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(1))
HEADS = {"whole": {"type": "bnneck", "classifiers": "source"}, "parts": {"type": "stripes", "count": 2}}


def build(**changes: Any) -> ReIDNetwork:
    inserts = {"mfa": {"at": ["layer1", "layer2", "layer3"]}, "dee": {"at": "layer3", "dropout": 0.0}}
    return make_network(**{"last_stride": 1, "heads": HEADS, "inserts": inserts, **changes})


def test_tested_versions_are_features_of_their_own_and_the_first_is_that_of_the_plain_network() -> None:
    network, plain = build().eval(), build(inserts=None).eval()
    weights = {re.sub(r"(\.module)+\.", ".", name): tensor for name, tensor in network.state_dict().items()}
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    assert (network.copies, plain.copies) == (3, 1)
    with torch.no_grad():
        found, expected = network(IMAGES, ROWS), plain(IMAGES, ROWS)
    assert list(found.features) == [f"{name}{end}" for name in plain.widths for end in ("", "_1", "_2")]
    assert network.widths == plain.widths == dict.fromkeys(expected.features, 512)
    assert found.embedding.shape == (8, 3 * 3 * 512)
    for name, feature in expected.features.items():
        torch.testing.assert_close(found.features[name], feature)
        first, second = (found.features[f"{name}_{number}"].embedding for number in (1, 2))
        assert min((first - feature.embedding).abs().max(), (first - second).abs().max()) > 1e-3


def test_in_training_the_versions_stand_below_each_other_with_the_modality_of_their_image() -> None:
    network = build().train()
    for module in network.modules():
        module.train(not isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d))
    with torch.no_grad():
        trained = network(IMAGES, ROWS)
        tested = network.eval()(IMAGES, ROWS)
    assert list(trained.features) == ["whole", "parts_0", "parts_1"]
    for name, feature in trained.features.items():
        for number, pooled in enumerate(feature.pooled.chunk(3)):
            torch.testing.assert_close(pooled, tested.features[f"{name}_{number}" if number else name].pooled)
    classifier = network.heads["whole"].classifier
    for row, logits in enumerate(trained.features["whole"].logits):
        own = classifier[Modality(ROWS[row % 8]).base.key]
        torch.testing.assert_close(logits, own(trained.features["whole"].embedding[row]))


def test_parameters_of_the_backbone_have_timms_names_behind_several_inserts() -> None:
    found, expected = ([name for name, _ in one.pretrained_parameters()] for one in (build(), build(inserts=None)))
    assert found == expected


def test_several_inserts_multiply() -> None:
    network = build(inserts={"dee": {"at": ["layer1", "layer3"], "branches": 1}}, heads=None)
    assert network.copies == 4 and network.train()(IMAGES, ROWS).logits.shape == (32, 6)
    assert list(network.eval()(IMAGES, ROWS).features) == ["global", "global_1", "global_2", "global_3"]


def test_attention_is_that_of_the_first_version() -> None:
    assert last_activation(build().eval(), IMAGES, Modality.VISIBLE).shape == (8, 4, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem_depth": "stage3"}, "^stem_depth: an insert within the stems multiplies rows; expected stems that end"),
        (
            {"heads": {"parts": {"type": "bnneck"}, "parts_1": {"type": "bnneck"}}},
            r"^heads\.parts_1: choose another name: a further version of another feature is called so",
        ),
    ],
)
def test_networks_that_can_not_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_stems_may_end_where_rows_are_multiplied() -> None:
    assert build(stem_depth="stage2").train()(IMAGES, ROWS).pooled.shape == (24, 3 * 512)
