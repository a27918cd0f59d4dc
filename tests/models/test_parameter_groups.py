"""Groups of parameters: each parameter in one, the rates of timm's own functions, and what doesn't decay."""

import pytest
import timm
import timm.optim
import torch

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.methods.method import Share, method_of
from pipeline.models.parameter_groups import layer_scales, never_decayed
from pipeline.optimization import create_optimizer
from tests.methods.parts import CENTER
from tests.models.networks import make_network

BACKBONES = {
    "resnet10t": [],
    "test_vit": ["model.pooling=average"],
    "test_convnext": ["model.pooling=average"],
    "test_efficientnet": ["model.last_stride=2", "model.stems=shared"],
}
OPTIONS = {
    "none": [],
    "decay_norm_bias": ["optimizer.decay_norm_bias=false"],
    "layer_decay": ["optimizer.layer_decay=0.5"],
    "all": [
        *("optimizer.decay_norm_bias=false", "optimizer.layer_decay=0.5", "optimizer.heads_lr_mult=2"),
        *("derive.visible=learned", "optimizer.derivation_lr_mult=0.3"),
        *(f"losses.center.type={CENTER}", "losses.center.features=[global]"),
    ],
}


def groups_of(tiny, *overrides):
    settings = load_config([*tiny, "augment.height=160", "augment.width=160", *overrides])
    torch.manual_seed(0)
    method = method_of(settings).build(settings, 5, Share(0, (4,)))
    groups = method.parameter_groups(settings)
    create_optimizer(groups, settings.optimizer)
    return method, {group["name"]: group for group in groups}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_trained_parameter_is_in_one_group(tiny, backbone, options):
    method, groups = groups_of(tiny, f"model.backbone={backbone}", *BACKBONES[backbone], *options)
    found = [id(parameter) for group in groups.values() for parameter in group["params"]]
    assert sorted(found) == sorted(id(p) for p in method.parameters() if p.requires_grad)
    assert all(group["params"] for group in groups.values())


def test_without_options_the_groups_are_the_first_versions(tiny):
    method, groups = groups_of(tiny, "derive.visible=learned", "inserts.non_local.at=layer3.0")
    assert {name: group["lr"] for name, group in groups.items()} == {"backbone": 0.001, "heads": 0.01}
    assert all(group.keys() == {"name", "params", "lr"} for group in groups.values())
    heads = [p for name, p in method.network.heads.named_parameters() if p.requires_grad]
    rest = [p for name, p in method.network.named_parameters() if p.requires_grad and not name.startswith("heads.")]
    for group, expected in zip(groups.values(), (rest, heads), strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in expected]  # which a checkpoint refers to by place


def test_heads_and_learned_derivations_have_factors_of_their_own(tiny):
    words = ["derive.visible=learned", "optimizer.derivation_lr_mult=0.3", "optimizer.heads_lr_mult=2"]
    method, groups = groups_of(tiny, *words)
    assert {name: group["lr"] for name, group in groups.items()} == pytest.approx(
        {"backbone": 0.001, "derivations": 0.003, "heads": 0.02}
    )
    assert groups["derivations"]["weight_decay"] == 0
    assert groups["derivations"]["params"] == [*method.network.generators.parameters()]


def timms_own(name, layer_decay):
    """Parameter's name -> factor, of the same model as timm makes it."""
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=0, global_pool="")
    names = {parameter: found for found, parameter in whole.named_parameters()}
    groups = timm.optim.param_groups_layer_decay(whole, layer_decay=layer_decay)
    return {names[parameter]: group["lr_scale"] for group in groups for parameter in group["params"]}


@pytest.mark.parametrize(
    ("backbone", "stems"),
    [*((name, "shared") for name in BACKBONES), *((name, "source") for name in BACKBONES if "efficient" not in name)],
)
def test_layers_have_the_rates_that_timms_function_gives_to_the_same_model(backbone, stems):
    network = make_network(backbone, height=160, width=160, pooling="average", stems=stems)
    expected, scales = timms_own(backbone, 0.7), layer_scales(network, 0.7)
    found = {name: scales[p] for name, p in network.pretrained_parameters() if p.requires_grad}
    assert found == pytest.approx({name: expected[name] for name in found}) and len(found) > 20
    assert len({*found.values()}) >= 5
    stem = [scales[parameter] for parameter in network.stems.parameters()]
    assert stem == [min(scales.values())] * len(stem) and (stems == "shared" or len(stem) > 1)


def test_what_is_new_in_the_backbone_learns_at_its_whole_rate_and_moves_no_layer(tiny):
    plain, groups = groups_of(tiny, "optimizer.layer_decay=0.5")
    method, more = groups_of(
        tiny, "optimizer.layer_decay=0.5", "inserts.non_local.at=[layer2,layer3.0]", "derive.visible=learned"
    )
    new = more.pop("backbone")
    assert new["lr"] == 0.001 and {id(p) for p in new["params"]} == {
        id(p)
        for name, p in method.named_parameters()
        if p.requires_grad and (".insert." in name or "generators" in name)
    }
    assert [*groups] == ["backbone.layer_0", *(f"backbone.layer_{n}" for n in range(1, 5)), "heads"] == [*more]
    for name, group in groups.items():
        assert group["lr"] == more[name]["lr"] and len(group["params"]) == len(more[name]["params"])
    assert groups["backbone.layer_4"]["lr"] == 0.001 and groups["backbone.layer_0"]["lr"] == 0.001 / 16
    names = [name for name, _ in method.network.pretrained_parameters()]
    assert names == [name for name, _ in plain.network.pretrained_parameters()]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_what_never_decays_is_what_timm_names_and_the_one_dimensional_rest(backbone):
    network = make_network(backbone, height=160, width=160, pooling="average", stems="shared")
    found = never_decayed(network.named_parameters(), network)
    whole = timm.create_model(backbone, num_classes=0, global_pool="")
    listed = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    assert ("pos_embed" in listed) == (backbone == "test_vit")
    for name, parameter in network.named_parameters():
        spared = parameter.ndim <= 1 or name.endswith(".bias") or name.removeprefix("backbone.") in listed
        assert (parameter in found) == (spared and parameter.requires_grad), name


def test_a_split_group_keeps_its_name_and_rate_and_a_losses_own_decay_stays(tiny):
    words = [f"losses.center.type={CENTER}", "losses.center.features=[global]", "optimizer.decay_norm_bias=false"]
    _, groups = groups_of(tiny, *words, "optimizer.layer_decay=0.5")
    assert [*groups][:3] == ["backbone.layer_0", "backbone.layer_0.no_decay", "backbone.layer_1"]
    assert [*groups][-3:] == ["heads", "heads.no_decay", "losses.center"]
    for name, group in groups.items():
        whole = groups[name.removesuffix(".no_decay")]
        assert group["lr"] == whole["lr"]
        assert group.get("weight_decay") == (0 if name != whole["name"] or name == "losses.center" else None)
    assert [p.ndim for p in groups["heads.no_decay"]["params"]] == [1]


def test_a_backbone_whose_layers_timm_does_not_know_is_refused():
    network = make_network(height=32, width=32, modalities=[Modality.VISIBLE, Modality.INFRARED])
    network.backbone.__class__ = type("Lone", (torch.nn.Module,), {})
    with pytest.raises(ValueError, match=r"^optimizer\.layer_decay: timm doesn't know the layers of Lone; set it to 1"):
        layer_scales(network, 0.5)
    assert layer_scales(network, 1.0) == {}
