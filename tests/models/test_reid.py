from __future__ import annotations

from copy import deepcopy

import pytest
import torch

from pipeline.batch import Modality
from pipeline.models.generator import ModalityGenerator
from tests.models.networks import make_network

V, IR, DV, DI = Modality
ALL = (V, IR, DV, DI)
ROWS = torch.tensor([V, V, IR, IR, DV, DV, DI, DI])
HEIGHT, WIDTH = 64, 32
NAMES = ["resnet18", "resnet10t", "test_convnext", "test_vit"]


def _images(rows: int = len(ROWS)) -> torch.Tensor:
    return torch.randn(rows, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stems", ["source", "modality", "shared"])
@pytest.mark.parametrize("name", [*NAMES, "resnet50", "convnext_atto", "vit_tiny_patch16_224"])
def test_shapes_and_every_parameter_gets_a_gradient(name: str, stems: str) -> None:
    network = make_network(name, stems=stems, learned_derivations=(DI,))
    output = network(_images(), ROWS)
    width = network.heads["global"].neck.num_features
    assert output.pooled.shape == output.embedding.shape == (8, width)
    assert output.logits.shape == (8, 6)
    assert output.pooled.dtype == output.embedding.dtype == torch.float32
    (output.logits.square().sum() + output.pooled.square().sum()).backward()
    missing = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stems", ["source", "modality", "shared"])
@pytest.mark.parametrize("training", [False, True])
def test_order_of_rows_does_not_matter(name: str, stems: str, training: bool) -> None:
    network = make_network(name, stems=stems, learned_derivations=(DV, DI)).train(training)
    images, order = _images(), torch.tensor([3, 0, 7, 4, 1, 6, 2, 5])
    with torch.no_grad():
        straight, shuffled = network(images, ROWS), network(images[order], ROWS[order])
    torch.testing.assert_close(shuffled.pooled, straight.pooled[order], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(shuffled.embedding, straight.embedding[order], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("stems", "groups"),
    [("source", [{V, DV}, {IR, DI}]), ("modality", [{V}, {IR}, {DV}, {DI}]), ("shared", [{V, IR, DV, DI}])],
)
def test_modalities_share_stems_as_asked(stems: str, groups: list[set[Modality]]) -> None:
    """A changed first convolution changes exactly the rows of its group."""
    network = make_network(stems=stems).eval()
    images = _images(1).expand(4, -1, -1, -1)
    modality = torch.tensor(ALL)
    with torch.no_grad():
        before = network(images, modality).pooled
        for group in groups:
            changed = deepcopy(network)
            body = changed.backbone if stems == "shared" else changed.stems[changed.stem_of[min(group)]]
            body.conv1[0].weight.mul_(2).add_(0.1)
            after = changed(images, modality).pooled
            assert {m for m in ALL if not torch.equal(after[m], before[m])} == group
    assert torch.allclose(before, before[:1])  # all stems start equal


def test_batch_norm_of_a_stem_sees_its_rows_together() -> None:
    network = make_network(stems="source")
    network(_images(), ROWS[torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])])
    assert network.stems["visible"].bn1.num_batches_tracked == 1
    assert network.stems["infrared"].bn1.num_batches_tracked == 1


def test_learned_derivation_equals_the_generator_before_the_network() -> None:
    network = make_network(learned_derivations=(DI,)).eval()
    torch.nn.init.normal_(network.generators["infrared"].to_color.bias)
    images = _images()
    with torch.no_grad():
        derived = images.clone()
        derived[6:] = network.generators["infrared"](images[6:])
        plain = make_network().eval()
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("generators.")})
        torch.testing.assert_close(network(images, ROWS).pooled, plain(derived, ROWS).pooled)
        assert not torch.allclose(plain(images, ROWS).pooled[6:], network(images, ROWS).pooled[6:])


def test_middle_modalities_are_derived_before_the_network() -> None:
    network = make_network(learned_derivations=(DV, DI), derivation="middle").eval()
    images, runs = _images(), [("as_it_is", 4), ("visible", 2), ("infrared", 2)]
    with torch.no_grad():
        derived = network.generators(images, runs)
        plain = make_network().eval()
        plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("generators.")})
        torch.testing.assert_close(network(images, ROWS).pooled, plain(derived, ROWS).pooled)
    assert torch.equal(derived[:4], images[:4]) and not torch.allclose(derived[4:], images[4:])


def test_one_generator_per_base_that_asks() -> None:
    network = make_network(learned_derivations=(DV, DI))
    generators = [name for name, module in network.generators.items() if isinstance(module, ModalityGenerator)]
    assert sorted(generators) == ["infrared", "visible"]
    assert not list(make_network().generators.parameters())


def test_evaluation_needs_the_captured_modalities_only_and_gives_no_logits() -> None:
    network = make_network(learned_derivations=(DV, DI)).eval()
    with torch.no_grad():
        both = network(_images(4), ROWS[:4])
        infrared = network(_images(4)[2:], ROWS[2:4])
    assert both.logits is None
    torch.testing.assert_close(infrared.embedding, both.embedding[2:])


def test_embedding_is_the_neck_of_pooled() -> None:
    network = make_network()
    output = network(_images(), ROWS)
    mean, variance = output.pooled.mean(0), output.pooled.var(0, unbiased=False)
    torch.testing.assert_close(
        output.embedding, (output.pooled - mean) / (variance + 1e-5).sqrt(), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(output.logits, output.embedding @ network.heads["global"].classifier.weight.T)


def test_head() -> None:
    network = make_network(identities=500)
    assert not network.heads["global"].neck.bias.requires_grad and torch.equal(
        network.heads["global"].neck.bias, torch.zeros_like(network.heads["global"].neck.bias)
    )
    assert torch.equal(network.heads["global"].neck.weight, torch.ones_like(network.heads["global"].neck.weight))
    assert network.heads["global"].classifier.bias is None
    assert network.heads["global"].classifier.weight.std().item() == pytest.approx(0.001, rel=0.05)
    head = network.head_parameters()
    assert (
        len(head) == 2
        and head[0] is network.heads["global"].neck.weight
        and head[1] is network.heads["global"].classifier.weight
    )


def test_last_stride_reaches_the_pooling() -> None:
    sizes = []
    network = make_network(last_stride=1).eval()
    network.pooling.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[2:]))
    with torch.no_grad():
        network(_images(2), ROWS[:2])
    assert sizes == [(HEIGHT // 16, WIDTH // 16)]


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trip(name: str) -> None:
    source, target = make_network(name, learned_derivations=(DI,)), make_network(name, learned_derivations=(DI,))
    source(_images(), ROWS)  # moves the running statistics
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    target.load_state_dict(source.state_dict())
    with torch.no_grad():
        expected, found = source.eval()(_images(), ROWS), target.eval()(_images(), ROWS)
    assert torch.equal(found.embedding, expected.embedding)


def test_modality_may_be_a_sequence() -> None:
    network = make_network().eval()
    with torch.no_grad():
        expected = network(_images(), ROWS).pooled
        assert torch.equal(network(_images(), tuple(ROWS.tolist())).pooled, expected)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_channels_last_and_half_precision_images(name: str) -> None:
    network = make_network(name, learned_derivations=(DI,)).to(memory_format=torch.channels_last)
    images = _images().half().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(images, ROWS)
    assert (output.pooled.dtype, output.embedding.dtype, output.logits.dtype) == (
        torch.float32,
        torch.float32,
        torch.bfloat16,
    )
    (output.logits.float().square().sum() + output.pooled.sum()).backward()
    gradients = [p.grad for p in network.parameters() if p.requires_grad]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    full = network(images.float(), ROWS)
    assert torch.nn.functional.cosine_similarity(output.pooled, full.pooled).min() > 0.98


def test_channels_last_is_kept_up_to_the_body() -> None:
    network = make_network(learned_derivations=(DI,)).to(memory_format=torch.channels_last)
    seen = []
    network.backbone.layer1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(_images().to(memory_format=torch.channels_last), ROWS)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


def test_compiled_equals_eager() -> None:
    network = make_network(learned_derivations=(DI,)).eval()
    compiled = torch.compile(network, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(_images(), ROWS).pooled, network(_images(), ROWS).pooled)


def test_modality_without_a_stem() -> None:
    network = make_network(modalities=(V, IR), stems="modality").eval()
    with pytest.raises(ValueError, match="visible_derived rows, but the model has stems for visible, infrared only"):
        network(_images(), ROWS)
    with pytest.raises(ValueError, match="infrared rows, but the model has stems for visible, visible_derived only"):
        make_network(modalities=(V,)).eval()(_images(), ROWS)
    with pytest.raises(ValueError, match="4"):
        network(_images(1), [4])


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"modalities": ()}, "modalities: expected one or more different ones; found none"),
        ({"modalities": (V, V)}, "modalities: expected one or more different ones; found visible, visible"),
        ({"identities": 0}, "identities: expected 1 or more; found 0"),
        ({"learned_derivations": (V,)}, "learned_derivations: expected derived modalities in use; found visible"),
        ({"modalities": (V, IR), "learned_derivations": (DI,)}, "in use; found infrared_derived"),
        ({"stems": "two"}, "stems: expected one of"),
        ({"pooling": "max"}, "pooling: expected one of"),
    ],
)
def test_bad_settings(keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_network(**keywords)
