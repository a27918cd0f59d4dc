import pytest
import torch

from pipeline.batch import Modality
from pipeline.models.pooling import Pooling
from tests.models.networks import make_network

ROWS = [int(modality) for modality in Modality for _ in range(2)]
IMAGES = torch.randn(8, 3, 64, 32, generator=torch.Generator().manual_seed(1))


def test_stripes_divide_the_map_from_the_top():
    features = torch.arange(12.0).reshape(1, 1, 6, 2)
    pooling = Pooling("average")
    assert [stripe.item() for stripe in pooling.stripes(features, 3)] == [1.5, 5.5, 9.5]
    adaptive = torch.nn.functional.adaptive_avg_pool2d(features, (4, 1)).flatten()
    torch.testing.assert_close(torch.cat(pooling.stripes(features, 4)).flatten(), adaptive)
    last = Pooling("average", channels_last=True).stripes(features.permute(0, 2, 3, 1), 3)
    assert [stripe.item() for stripe in last] == [1.5, 5.5, 9.5]


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(1, 3, 4, 2), "count: expected at most the 4 rows .*; found 5"),
        (torch.zeros(1, 9, 3), "found tokens"),
    ],
)
def test_what_has_no_stripes(features, message):
    with pytest.raises(ValueError, match=message):
        Pooling("gem").stripes(features, 5)


@pytest.mark.parametrize("width", [None, 16])
def test_several_heads_side_by_side(width):
    heads = {"whole": {"type": "bnneck"}, "parts": {"type": "stripes", "count": 2, "width": width}}
    network = make_network(last_stride=1, heads=heads)
    output = network(IMAGES, ROWS)
    assert list(output.features) == list(network.widths) == ["whole", "parts_0", "parts_1"]
    assert list(network.widths.values()) == [512, width or 512, width or 512]
    assert output.embedding.shape == output.pooled.shape == (8, sum(network.widths.values()))
    assert all(feature.logits.shape == (8, 6) for feature in output.features.values())
    loss = sum(feature.logits.square().sum() + feature.pooled.square().sum() for feature in output.features.values())
    loss.backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert network.eval()(IMAGES, ROWS).features["parts_1"].logits is None


def hct_head(**changes):
    options = {"type": "stripes", "count": 2, "width": 16, "norm": True, "activation": "relu", "neck": False}
    return {"parts": options | {"bias": True} | changes}


def test_a_reduction_with_norm_and_activation_and_no_neck():
    network = make_network(last_stride=1, heads=hct_head()).train()
    reduction, neck = network.heads["parts"].reductions["parts_1"], network.heads["parts"].necks["parts_1"]
    assert network.widths == {"parts_0": 16, "parts_1": 16} and network.embedding_widths == {}
    assert reduction.linear.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    assert reduction.linear.bias is None and not neck.classifier.bias.any()
    assert neck.classifier.weight.std().item() == pytest.approx(0.001, rel=0.2)
    with torch.no_grad():
        features = network.backbone.forward_features(network.stems["visible"](IMAGES))
        _, lower = network.pooling.stripes(features, 2)
        linear = lower @ reduction.linear.weight.T
        expected = ((linear - linear.mean(0)) / (linear.var(0, correction=0) + 1e-5).sqrt()).clamp(min=0)
        made = network.heads["parts"](features, network.pooling, [Modality.VISIBLE] * 8)["parts_1"]
        torch.testing.assert_close(made.pooled, expected, rtol=1e-4, atol=1e-5)
        neck.classifier.bias += 1
        torch.testing.assert_close(neck.after_pooling(made.pooled, []).logits, made.logits + 1)
    assert made.embedding is made.pooled


def test_a_reduction_with_a_norm_is_not_rounded_under_autocast():
    network = make_network(last_stride=1, heads=hct_head()).train()
    features = torch.randn(8, 512, 4, 2, generator=torch.Generator().manual_seed(2))
    exact = network.heads["parts"](features, network.pooling, [Modality.VISIBLE] * 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network.heads["parts"](features, network.pooling, [Modality.VISIBLE] * 8)
    assert torch.equal(found["parts_0"].pooled, exact["parts_0"].pooled)


@pytest.mark.parametrize("changes", [{"norm": True}, {"activation": "relu"}])
def test_what_follows_a_reduction_needs_one(changes):
    with pytest.raises(ValueError, match=r"^heads\.parts\.width: expected a number with norm or activation"):
        make_network(heads={"parts": {"type": "stripes", "count": 2, **changes}})


def test_layers_of_stripes_that_no_loss_reads_are_frozen():
    network = make_network(last_stride=1, heads=hct_head())
    network.freeze_unread(lambda feature, what: (feature, what) == ("parts_0", "pooled"))
    trained = {name for name, p in network.heads.named_parameters() if p.requires_grad}
    kept = ("linear.weight", "norm.weight", "norm.bias")
    assert trained == {f"parts.reductions.parts_0.{name}" for name in kept}


@pytest.mark.parametrize(("pooling", "found"), [("auto", "the class token"), ("average", "tokens")])
def test_stripes_of_tokens_are_refused_by_their_key(pooling, found):
    network = make_network("test_vit", pooling=pooling, heads={"parts": {"type": "stripes", "count": 2}})
    with pytest.raises(ValueError, match=rf"^heads\.parts\.type: stripes are of a map .*; found {found}"):
        network(torch.zeros(1, 3, 64, 32), [0])


def test_a_row_goes_through_the_classifier_of_its_modality():
    network = make_network(heads={"global": {"type": "bnneck", "classifiers": "source"}}).train()
    with torch.no_grad():
        before = network(IMAGES, ROWS).logits
        network.heads["global"].classifier["infrared"].weight.add_(1.0)
        after = network(IMAGES, ROWS).logits
    changed = {
        Modality(row) for row, one, other in zip(ROWS, before, after, strict=True) if not torch.equal(one, other)
    }
    assert changed == {Modality.INFRARED, Modality.INFRARED_DERIVED}


def test_layers_that_no_loss_reads_are_frozen():
    heads = {"read": {"type": "bnneck"}, "metric": {"type": "bnneck"}, "cosine": {"type": "bnneck"}}
    network = make_network(heads=heads)
    reads = {("read", "logits"), ("metric", "pooled"), ("cosine", "embedding")}
    network.freeze_unread(lambda feature, what: (feature, what) in reads)
    trained = {name for name, p in network.heads.named_parameters() if p.requires_grad}
    assert trained == {"read.neck.weight", "read.classifier.weight", "cosine.neck.weight"}
    assert len(network.head_parameters()) == 3
