"""A method as the loop sees it: parts with parameters, groups, several optimizers, what is frozen, what is tested."""

from dataclasses import replace

import pytest
import torch

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.methods.method import Share, method_of
from pipeline.optimization import set_learning_rate
from tests.methods.parts import CENTER

ROWS = [int(modality) for modality in Modality for _ in range(4)]
IDENTITIES = 5


def build(tiny, *overrides):
    settings = load_config([*tiny, *overrides])
    torch.manual_seed(0)
    return settings, method_of(settings).build(settings, IDENTITIES, Share(0, (4,)))


def batch():
    images = torch.randn(len(ROWS), 3, 32, 16, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(4).repeat(4)
    return Batch(images, labels, labels, labels, tuple(ROWS), labels)


def test_the_loss_comes_first_and_reaches_every_trained_parameter(tiny):
    _, method = build(tiny)
    parts = method.train()(batch())
    assert [*parts][0] == "loss"
    parts["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_term_with_parameters_has_a_group_of_its_own(tiny):
    settings, method = build(tiny, f"losses.center.type={CENTER}", "losses.center.weight=0.01", "optimizer.lr=0.2")
    groups = {group["name"]: group for group in method.parameter_groups(settings)}
    assert [*groups] == ["backbone", "heads", "losses.center"]
    assert (groups["losses.center"]["lr"], groups["losses.center"]["weight_decay"]) == (0.5, 0.0)
    parameters = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(parameters) == sorted(id(p) for p in method.parameters() if p.requires_grad)
    (player,) = method.players(settings)
    center = method.objective.terms["center"].centers
    parts = method.train()(batch())
    assert parts["center"] > 0
    parts["loss"].backward()
    set_learning_rate(player.optimizer, player.schedule(80.0))
    assert [group["lr"] for group in player.optimizer.param_groups] == pytest.approx([0.0002, 0.002, 0.005])
    player.optimizer.step()
    assert center.abs().sum() > 0 and not any("center" in name for name in method.tested.state_dict())


def test_an_adversary_learns_while_features_get_its_gradient_reversed(tiny):
    gradients = {}
    for strength in (0.0, 0.5, 1.0):
        words = [f"losses.adversary.strength={strength}"]
        _, method = build(tiny, *words, *(f"losses.{name}=null" for name in ("identity", "intra", "cross")))
        method.train()(batch())["loss"].backward()
        discriminator = method.objective.terms["adversary"].discriminator[0].weight.grad
        gradients[strength] = (discriminator, method.network.backbone.layer4[0].conv1.weight.grad)
    assert gradients[0.0][1].abs().max() == 0 and gradients[0.0][0].abs().max() > 0
    torch.testing.assert_close(gradients[1.0][0], gradients[0.5][0])  # the discriminator's own isn't reversed
    torch.testing.assert_close(gradients[1.0][1], 2 * gradients[0.5][1])
    assert not build(tiny, *words, "losses.identity=null")[1].network.head_parameters()


def test_every_version_of_an_image_has_its_label_camera_and_modality(tiny):
    _, method = build(tiny, "inserts.dee.at=layer2", "losses.cpm.weight=1", "losses.orthogonality.weight=1")
    data, seen = batch(), []
    data = replace(data, camera=torch.arange(16))
    method.objective.register_forward_pre_hook(lambda objective, inputs: seen.append(inputs[0]["global"]))
    parts = method.train()(data)
    (found,) = seen
    assert len(found) == len(found.logits) == 3 * len(ROWS) == 48
    for version, first in enumerate((0, 16, 32)):
        own = slice(first, first + 16)
        assert torch.equal(found.labels[own], data.label) and torch.equal(found.camera[own], data.camera)
        assert tuple(found.modality[own]) == data.modality and (found.version[own] == version).all()
    assert len(found.of(Modality.INFRARED)) == 12
    assert {"cpm_version_1", "cpm_version_2", "orthogonality"} <= parts.keys()
    parts["loss"].backward()
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_terms_that_compare_versions_need_some(tiny):
    with pytest.raises(ValueError, match=r"^losses\.cpm\.type: cpm is for 2 versions of an image or more"):
        build(tiny, "losses.cpm.weight=1")


def test_mixed_precision_compares_features_in_float32(tiny):
    _, method = build(tiny)
    seen = []
    for term in method.objective.terms.values():
        term.register_forward_pre_hook(lambda term, inputs: seen.extend(inputs[0].parts.values()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method.train()(batch())["loss"]
    assert loss.dtype == torch.float32 and len(seen) == 3 and {part.dtype for part in seen} == {torch.float32}


def test_without_an_identity_loss_the_head_is_frozen(tiny):
    assert build(tiny)[1].network.head_parameters()
    settings, method = build(tiny, "losses.identity.weight=0")
    assert not method.network.head_parameters()
    assert [group["name"] for group in method.parameter_groups(settings)] == ["backbone"]


def test_the_default_is_the_papers_method(tiny):
    _, method = build(tiny)
    _, same = build(tiny[:0], "configs/ablation/mdl4.yaml", *tiny)
    assert [*method.objective.terms] == ["identity", "intra", "cross"] == [*same.objective.terms]
    assert [term.settings for term in method.objective.terms.values()] == [
        term.settings for term in same.objective.terms.values()
    ]


def test_embed_is_what_is_tested(tiny):
    _, method = build(tiny)
    method.eval()
    with torch.no_grad():
        found = method.embed(batch().images, ROWS)
        assert torch.equal(found, method.tested(batch().images, ROWS).embedding) and found.shape == (16, 96)


def test_a_trained_power_learns_as_the_heads_do_without_decay_and_changes_nothing_at_first(tiny):
    settings, method = build(tiny, "model.pool_power_trained=true", "optimizer.lr=0.2")
    groups = {group["name"]: group for group in method.parameter_groups(settings)}
    assert [*groups] == ["backbone", "heads", "heads_pooling"]
    power = method.network.pooling.power
    assert [id(p) for p in groups["heads_pooling"]["params"]] == [id(power)]
    assert (groups["heads_pooling"]["lr"], groups["heads_pooling"]["weight_decay"]) == (0.2, 0.0)
    _, fixed = build(tiny)
    loss = method.train()(batch())["loss"]
    torch.testing.assert_close(loss, fixed.train()(batch())["loss"])
    loss.backward()
    assert power.grad.shape == (1,) and power.grad.abs() > 0
    added = method.network.state_dict().keys() - fixed.network.state_dict().keys()
    assert added == {"pooling.power"}


VIT = ["model.backbone=test_vit", "augment.height=32", "augment.width=16"]


def test_what_auto_stands_for_is_resolved_without_random_numbers(tiny):
    state = torch.get_rng_state()
    for backbone, expected in ([], "gem"), (VIT, "token"):
        settings = load_config([*tiny, *backbone])
        resolved = method_of(settings).resolved(settings)
        assert settings.model.pooling == "auto" and resolved.model.pooling == expected
        assert method_of(settings).resolved(resolved) == resolved
    assert torch.equal(torch.get_rng_state(), state)


def test_gem_of_signed_features_begins_no_training_but_a_run_of_it_is_built_with_a_warning(tiny, caplog):
    settings = load_config([*tiny, *VIT, "model.pooling=gem"])
    with pytest.raises(
        ValueError, match=r"^model\.pooling: gem is for maps without negative values; \d+ % of"
    ) as error:
        method_of(settings).resolved(settings)
    assert "\n" not in str(error.value)
    assert method_of(settings).resolved(settings, resumed=True).model == settings.model
    assert method_of(settings).build_tested(settings, IDENTITIES, weights=False).pooling.kind == "gem"
    assert "model.pooling: gem is for maps without negative values" in caplog.text


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["batch.modalities=[visible,infrared]"], r"losses\.cross\.pairs: infrared_derived is not in use"),
        (["model.backbone=resnet99"], r"model\.backbone: timm has no model"),
        (["model.weights=absent.pth"], r"model\.weights: no such file: absent\.pth"),
        (["model.backbone=test_vit", "augment.height=30"], r"augment\.height, augment\.width: test_vit"),
        (["model.backbone=vgg11"], r"model\.last_stride: 1 is for"),
        (["model.kwargs.dept=2"], r"model\.kwargs\.dept: test_resnet isn't built with it \(TypeError"),
        (["model.kwargs.img_size=32"], r"model\.kwargs\.img_size: not to be given here; set augment\.height and"),
        (
            ["model.drop_path=0.1", "model.backbone=vgg11", "model.last_stride=2"],
            r"model\.drop_path: vgg11 isn't built",
        ),
        (
            ["model.ibn=a", "model.backbone=regnetx_002"],
            r'model\.ibn: "a" is for ResNets; found RegNet: set it to none',
        ),
        (
            ["model.pool_power_trained=true", "model.pooling=average"],
            r"model\.pool_power_trained: expected the pooling",
        ),
        (["model.pooling=token"], r"model\.pooling: ResNet has no class token; set it to auto, gem or average"),
        (["inserts.non_local.at=nowhere"], r"^inserts\.non_local\.at: the backbone has no module"),
    ],
)
def test_what_cannot_be_built_names_its_key(tiny, overrides, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        build(tiny, *overrides)
    assert "\n" not in str(error.value)


def test_a_layer_that_no_loss_reaches_is_refused(tiny):
    pooled = ["losses.identity=null", "heads.global.type=embedding"]
    with pytest.raises(ValueError, match=r"^heads\.global: no loss looks at what its layer makes"):
        build(tiny, *pooled, "heads.global.width=8")
    assert not build(tiny, *pooled, "heads.global.connected=false")[1].network.head_parameters()
