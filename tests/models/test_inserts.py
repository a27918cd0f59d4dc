import pytest
import torch

from pipeline.models.backbone import create_backbone
from pipeline.models.dee import DEE
from pipeline.models.inserts import Followed, put_inserts
from pipeline.models.mfa import MFA
from pipeline.models.non_local import NonLocal
from pipeline.parts import INSERTS

SIZE = {"height": 64, "width": 32}


def backbone(name="resnet10t"):
    torch.manual_seed(0)
    return create_backbone(name, **SIZE, pretrained=False, weights=None, last_stride=2).eval()


def inserts(**named):
    return {name: INSERTS.options_of(options, name) for name, options in named.items()}


@pytest.mark.parametrize("channels", [1, 5, None])
def test_a_non_local_block_equals_loops(channels):
    torch.manual_seed(0)
    block = NonLocal(NonLocal.Options("non_local", channels=channels), channels=6).double().eval()
    torch.nn.init.normal_(block.norm.weight)
    features = torch.randn(2, 6, 3, 2, dtype=torch.float64)
    theta, phi, g = (part(features).flatten(2) for part in (block.theta, block.phi, block.g))
    assert theta.shape[1] == (channels or 3)
    mixed = torch.zeros_like(g)
    for image in range(2):
        for i in range(6):
            for j in range(6):
                mixed[image, :, i] += (theta[image, :, i] @ phi[image, :, j]) * g[image, :, j] / 6
    expected = block.norm(block.expand(mixed.reshape(2, -1, 3, 2))) + features
    torch.testing.assert_close(block(features), expected)


def test_inserts_stand_behind_their_places_and_begin_as_the_identity():
    plain, grown = backbone(), backbone()
    put_inserts(
        grown,
        inserts(
            non_local={"at": ["layer2", "layer2.0", "layer3"]},
            wide={"type": "non_local", "channels": 4, "at": "layer3"},
        ),
        **SIZE,
    )
    assert isinstance(grown.layer2, Followed) and isinstance(grown.layer2.module[0], Followed)
    first, second = grown.layer3.module.insert, grown.layer3.insert
    assert (first.theta.out_channels, second.theta.out_channels) == (1, 4)
    images = torch.randn(2, 3, 64, 32)
    assert torch.equal(grown.forward_features(images), plain.forward_features(images))
    torch.nn.init.ones_(first.norm.weight)
    assert not torch.equal(grown.forward_features(images), plain.forward_features(images))


def followed(grown):
    return [name for name, module in grown.named_modules() if isinstance(module, Followed)]


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("resnet10t", ["layer2.0", "layer3.0"]),
        ("resnet18", ["layer2.0", "layer2.1", "layer3.0", "layer3.1"]),
        ("resnet50", ["layer2.2", "layer2.3", "layer3.3", "layer3.4", "layer3.5"]),
    ],
)
def test_the_last_blocks_of_stages_are_followed_as_many_as_there_are(name, behind):
    grown = backbone(name)
    put_inserts(grown, inserts(non_local={"last_blocks": {"layer2": 2, "layer3": 3}}), **SIZE)
    assert followed(grown) == behind


def test_last_blocks_of_other_stages_and_places_beside_them():
    kwargs = {"depths": (1, 1, 3, 1), "dims": (8, 8, 8, 8)}
    grown = create_backbone("convnext_tiny", **SIZE, pretrained=False, weights=None, last_stride=2, kwargs=kwargs)
    put_inserts(grown, inserts(non_local={"last_blocks": {"stages.2.blocks": 2}, "at": "stages.1"}), **SIZE)
    assert followed(grown) == ["stages.1", "stages.2.blocks.1", "stages.2.blocks.2"]
    assert grown.stages[2].blocks[1].insert.expand.out_channels == 8
    assert grown.forward_features(torch.zeros(1, 3, 64, 32)).shape[1] == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"last_blocks": {"layer9": 1}},
            r"inserts\.non_local\.last_blocks: the backbone has no module 'layer9'; its own are conv1, .*layer4",
        ),
        ({"last_blocks": {"layer2": 0}}, r"last_blocks: expected 1 block of layer2 or more; found 0"),
        (
            {"last_blocks": {"layer2.0": 1}},
            r"last_blocks: expected stages, each a Sequential of blocks; layer2.0 is a BasicBlock",
        ),
        (
            {"at": ["layer9"]},
            r"inserts\.non_local\.at: the backbone has no module 'layer9'; its own are conv1, .*layer4",
        ),
        ({}, r"inserts\.non_local\.at: expected one place or more"),
    ],
)
def test_places_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        put_inserts(backbone(), inserts(non_local=options), **SIZE)


def test_a_place_without_a_map():
    with pytest.raises(ValueError, match=r"expected a module that returns a map of places; blocks.0 of the backbone"):
        put_inserts(backbone("test_vit"), inserts(non_local={"at": "blocks.0"}), **SIZE)


def test_maps_with_their_channels_last_are_refused():
    swin = create_backbone(
        "swin_tiny_patch4_window7_224",
        **SIZE,
        pretrained=False,
        weights=None,
        last_stride=2,
        kwargs={"depths": [1, 1, 1, 1], "embed_dim": 24, "num_heads": [1, 1, 1, 1]},
    )
    with pytest.raises(ValueError, match=r"inserts.non_local.at: inserts are for maps \(B, C, h, w\); those of Swin"):
        put_inserts(swin, inserts(non_local={"at": ["layers.2"]}), **SIZE)


def test_an_insert_that_sees_more_gets_the_input_of_what_it_follows():
    grown, seen = backbone(), []
    put_inserts(grown, inserts(mfa={"at": ["layer1", "layer2"]}, dee={"at": "layer2"}), **SIZE)
    outer = grown.layer2  # at one place the first comes first
    assert (type(outer.insert), type(outer.module.insert)) == (DEE, MFA)
    assert outer.insert.copies == 3 and outer.insert.branches[0].expand.out_channels == 128
    for name in ("layer1", "layer2.module"):
        block = grown.get_submodule(name)
        block.module.register_forward_hook(lambda module, inputs, output: seen.append((output, inputs[0])))
        block.insert.register_forward_hook(lambda module, inputs, output: seen.append((*inputs, output)))
    found = grown.forward_features(torch.randn(2, 3, 64, 32))
    (first, stem), (high, low, mixed), (second, given), (high_2, low_2, _) = seen
    assert high is first and low is stem and given is mixed and high_2 is second and low_2 is mixed
    assert found.shape == (6, 512, 2, 1)


def test_an_insert_that_sees_more_is_built_from_both_widths():
    grown = backbone("resnet50")
    put_inserts(grown, inserts(mfa={"at": ["layer1", "layer2", "layer3", "layer4"]}), **SIZE)
    made = [grown.get_submodule(f"layer{number}").insert.channels for number in (1, 2, 3, 4)]
    widths = [(one.theta.in_channels, one.phi.in_channels, one.theta.out_channels) for one in made]
    assert widths == [(256, 64, 64), (512, 256, 256), (1024, 512, 512), (2048, 1024, 1024)]
    assert grown.layer2.insert.places.g.out_channels == 128


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet10t",
            {"at": "layer4"},
            r"^inserts\.dee\.at: dee multiplies .* some of layer1, layer2, layer3; found lay",
        ),
        ("resnet10t", {"at": "layer3.0"}, r"some of layer1, layer2, layer3; found layer3\.0"),
        ("resnet10t", {"last_blocks": {"layer2": 1}}, r"^inserts\.dee\.last_blocks: .*; found layer2\.0"),
        ("mobilenetv2_050", {"at": "blocks.2"}, r"expected a backbone with stages; found blocks\.2"),
    ],
)
def test_rows_are_multiplied_between_stages_alone(name, options, message):
    with pytest.raises(ValueError, match=message):
        put_inserts(backbone(name), inserts(dee=options), **SIZE)
