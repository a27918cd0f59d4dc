"""The head of learned patterns."""

import pytest
import torch

from pipeline.batch import Modality
from pipeline.models.heads import HeadContext
from pipeline.models.patterns import PatternsHead
from pipeline.models.pooling import Pooling
from tests.models.networks import make_network

ROWS = [modality for modality in Modality for _ in range(2)]
MAP = torch.randn(8, 4, 3, 2, generator=torch.Generator().manual_seed(1))


def head_of(pooling="average", width=4, **options):
    torch.manual_seed(0)
    return PatternsHead(
        PatternsHead.Options("patterns", **options), "global", HeadContext(width, list(Modality), 6, pooling)
    )


def test_equals_loops():
    head = head_of(count=2)
    feature = head(MAP, Pooling("average"), ROWS)["global"]
    weight, bias = head.attention.weight.detach()[:, :, 0, 0], head.attention.bias
    assert not bias.any()
    for image in range(8):
        places = MAP[image].flatten(1)  # (4, 6)
        parts = []
        for pattern in range(2):
            mask = torch.stack([torch.sigmoid(weight[pattern] @ places[:, place]) for place in range(6)])
            torch.testing.assert_close(feature.extra["masks"][image, pattern], mask)
            parts.append(torch.stack([sum(mask * places[channel]) / 6 for channel in range(4)]))
        torch.testing.assert_close(feature.pooled[image], torch.cat([*parts, places.mean(dim=1)]))
    assert feature.embedding.shape == (8, 12) and feature.logits.shape == (8, 6)
    feature = head.eval()(MAP, Pooling("average"), ROWS)["global"]
    assert feature.logits is None and not feature.extra


def test_maps_with_their_channels_last_are_the_same():
    head = head_of().eval()
    expected = head(MAP, Pooling("average"), ROWS)["global"].pooled
    found = head(MAP.permute(0, 2, 3, 1), Pooling("average", channels_last=True), ROWS)["global"].pooled
    torch.testing.assert_close(found, expected)


def test_it_starts_as_its_authors_and_freezes_what_no_loss_reads():
    head = head_of(width=100)
    assert head.classifier.weight.abs().max().item() == pytest.approx(700**-0.5, rel=0.01)  # torch's, not 0.001
    assert torch.equal(head.neck.weight, torch.ones(700)) and not head.neck.bias.requires_grad
    head.freeze_unread(lambda feature, what: what in ("pooled", "masks"))
    trained = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert trained == {"attention.weight", "attention.bias"}


def test_a_classifier_for_each_captured_modality():
    head = head_of(classifiers="source")
    assert set(head.classifier) == {"visible", "infrared"}
    assert head.classifier["visible"].weight.abs().max() > 0.1


def test_the_feature_is_float32_in_mixed_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        feature = head_of()(MAP, Pooling("average"), ROWS)["global"]
    assert feature.pooled.dtype == feature.extra["masks"].dtype == torch.float32
    assert not torch.equal(feature.pooled, feature.pooled.bfloat16().float())


def test_other_poolings_and_tokens_are_refused():
    heads = {"parts": {"type": "patterns"}}
    with pytest.raises(
        ValueError, match=r"^heads\.parts\.type: patterns are means .* model.pooling=average; found gem$"
    ):
        make_network(heads=heads)
    network = make_network("test_vit", pooling="average", heads=heads)
    with pytest.raises(
        ValueError, match=r"^heads\.parts\.type: patterns are of a map of rows and columns; found tokens"
    ):
        network(torch.zeros(1, 3, 64, 32), [0])


def test_a_network_tells_which_features_have_masks():
    heads = {"parts": {"type": "patterns", "count": 2}, "whole": {"type": "bnneck"}}
    network = make_network(pooling="average", heads=heads)
    assert network.extra == {"parts": ("masks",)} and network.widths == {"parts": 1536, "whole": 512}
    output = network(torch.zeros(2, 3, 64, 32), [0, 1])
    assert output.features["parts"].extra["masks"].shape == (2, 2, 2) and not output.features["whole"].extra
