"""Heads with a fully connected layer, and the sphere softmax."""

import pytest
import torch
from torch.nn import functional

from pipeline.batch import Modality
from pipeline.models.sphere import sphere_logits
from tests.models.networks import make_network

ROWS = [int(modality) for modality in Modality for _ in range(2)]
IMAGES = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def network_of(**options):
    return make_network(heads={"global": {"type": "embedding", **options}}).train()


def test_pooled_and_embedding_have_widths_of_their_own():
    network = network_of(width=16, norm=True)
    assert (network.widths, network.embedding_widths) == ({"global": 512}, {"global": 16})
    output = network(IMAGES, ROWS)
    assert (output.pooled.shape, output.embedding.shape, output.logits.shape) == ((8, 512), (8, 16), (8, 6))
    assert network.eval()(IMAGES, ROWS).logits is None


@pytest.mark.parametrize(
    ("options", "behind"),
    [
        ({}, lambda x: x),
        ({"activation": "relu"}, torch.relu),
        ({"activation": "leaky_relu", "norm": True}, lambda x: functional.leaky_relu(x, 0.1)),
        ({"connected": False}, lambda x: x),
    ],
)
def test_layer_by_layer(options, behind):
    network = network_of(**options)
    head, (pooled, embedding, logits, _) = network.heads["global"], network(IMAGES, ROWS).features["global"]
    expected = pooled if "connected" in options else pooled @ head.connected.weight.T + head.connected.bias
    if "norm" in options:
        variance, mean = torch.var_mean(expected, dim=0, correction=0)
        expected = (expected - mean) / torch.sqrt(variance + 1e-5)
    torch.testing.assert_close(embedding, expected, rtol=1e-4, atol=1e-4)
    classifier = head.classifier["shared"]
    torch.testing.assert_close(logits, behind(embedding) @ classifier.weight.T + classifier.bias)


def test_norm_in_front_of_the_layer():
    head = network_of(norm_before=True, width=4).heads["global"]
    pooled = torch.randn(8, 512)
    normalized = (pooled - pooled.mean(0)) / torch.sqrt(pooled.var(0, correction=0) + 1e-5)
    found = head(pooled, lambda features: features, [Modality(row) for row in ROWS])["global"].embedding
    torch.testing.assert_close(found, head.connected(normalized), rtol=1e-4, atol=1e-4)


def test_a_classifier_for_each_captured_modality():
    network = network_of(classifiers="source", width=16)
    before = network(IMAGES, ROWS).logits
    with torch.no_grad():
        network.heads["global"].classifier["infrared"].weight.add_(1.0)
    changed = (network(IMAGES, ROWS).logits != before).any(dim=1).tolist()
    assert changed == [Modality(row).base == Modality.INFRARED for row in ROWS]


def test_layers_that_no_loss_reads_are_frozen():
    network = network_of(width=16, norm=True)
    network.freeze_unread(lambda feature, what: what == "pooled")
    assert not [p for p in network.heads.parameters() if p.requires_grad]
    network = network_of(width=16, norm=True)
    network.freeze_unread(lambda feature, what: what == "embedding")
    trained = {name for name, p in network.heads.named_parameters() if p.requires_grad}
    assert trained == {f"global.{layer}.{what}" for layer in ("connected", "norm") for what in ("weight", "bias")}


def test_a_width_without_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"^heads\.global\.width: expected null without .*; found 4"):
        network_of(width=4, connected=False)


def test_sphere_logits_by_loops():
    features, weight = torch.randn(5, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    found = sphere_logits(features, weight, 14.0)
    for row, column in [(row, column) for row in range(5) for column in range(3)]:
        f, w = features[row].tolist(), weight[column].tolist()
        lengths = sum(x * x for x in f) ** 0.5 * sum(x * x for x in w) ** 0.5
        assert found[row, column].item() == pytest.approx(14 * sum(x * y for x, y in zip(f, w, strict=True)) / lengths)
    assert torch.isfinite(
        torch.func.grad(lambda x: sphere_logits(x, weight, 14.0).sum())(torch.zeros_like(features))
    ).all()


@pytest.mark.parametrize("classifier", ["linear", "sphere"])
@pytest.mark.parametrize("width", [None, 16])
def test_decorrelation_makes_the_layer_orthogonal_and_changes_no_distance(classifier, width):
    network = network_of(classifier=classifier, width=width)
    head = network.heads["global"]
    with torch.no_grad():
        head.connected.bias.normal_()
    before, weight = network(IMAGES, ROWS), head.connected.weight.detach().clone()
    head.decorrelate()
    after, turned = network(IMAGES, ROWS), head.connected.weight
    gram = turned.double() @ turned.double().T
    torch.testing.assert_close(gram - gram.diag().diag(), torch.zeros_like(gram), rtol=0, atol=1e-5)
    assert (gram.diag().diff() <= 1e-6).all()  # the most important first
    assert ((turned * weight).sum(dim=1) >= 0).all()
    torch.testing.assert_close(
        torch.cdist(after.embedding, after.embedding),
        torch.cdist(before.embedding, before.embedding),
        rtol=1e-3,
        atol=1e-2,
    )
    torch.testing.assert_close(after.logits, before.logits, rtol=1e-3, atol=1e-4)
    head.decorrelate()  # of an orthogonal layer it is the identity
    torch.testing.assert_close(head.connected.weight, turned, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{"norm": True}, {"activation": "relu"}, {"connected": False}, {"width": 513}])
def test_heads_that_are_not_decorrelated(options):
    assert not network_of(**options).heads["global"].decorrelates


def test_the_embedding_is_float32_in_mixed_precision():
    network = network_of(width=16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(IMAGES, ROWS)
    assert output.embedding.dtype == torch.float32 and output.logits.dtype == torch.bfloat16
    assert not torch.equal(output.embedding, output.embedding.bfloat16().float())
