"""Inserts that read earlier maps: what they get, in every way in which a network is run or copied."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.models.backbone import create_backbone
from pipeline.models.inserts import InsertOptions, put_inserts
from pipeline.models.pooling import Pooling
from pipeline.models.reid import ReIDNetwork
from pipeline.models.taps import MapSize, TapPlace
from pipeline.parts import HEADS, INSERTS
from pipeline.settings_key import key

SIZE = {"height": 64, "width": 32}
PLACES = {
    "stem": TapPlace("layer1", "input"),
    "layer1": TapPlace("layer1", "output"),
    "second": TapPlace("layer2", "output"),
}


class Reader(nn.Module):
    """Adds a number from each map that it reads to its own, which gets no gradient; remembers what it read."""

    taps = PLACES

    @dataclass(frozen=True)
    class Options(InsertOptions):
        at: list[str] = key(["layer3"], "where")

    def __init__(self, settings, channels, sizes):
        super().__init__()
        self.channels, self.sizes = channels, sizes
        self.seen: list[dict[str, torch.Tensor]] = []

    def forward(self, features, tapped):
        self.seen.append({name: found.detach().clone() for name, found in tapped.items()})
        return features.detach() + sum(found.mean(dim=(1, 2, 3), keepdim=True) for found in tapped.values())


READER = f"{__name__}:Reader"


def tapped_backbone(name="resnet10t", **options):
    torch.manual_seed(0)
    made = create_backbone(name, **SIZE, pretrained=False, weights=None, last_stride=1).eval()
    named = {"reader": INSERTS.options_of({"type": READER, **options}, "reader")}
    put_inserts(made, named | {"non_local": INSERTS.options_of({"at": ["layer2.0"]}, "non_local")}, **SIZE)
    return made


def reader_of(made):
    return made.layer3.insert


def maps_of(made, images):
    """The same maps, by hooks of the test's own."""
    seen = {}
    hooks = [
        made.layer1.register_forward_hook(lambda module, inputs, output: seen.update(stem=inputs[0], layer1=output)),
        made.layer2.register_forward_hook(lambda module, inputs, output: seen.update(second=output)),
    ]
    made.forward_features(images)
    for hook in hooks:
        hook.remove()
    return seen


def test_an_insert_is_built_with_the_sizes_of_the_maps_and_gets_those_of_each_pass():
    made = tapped_backbone()
    reader = reader_of(made)
    assert reader.sizes == {"stem": (64, 16, 8), "layer1": (64, 16, 8), "second": (128, 8, 4)}
    assert isinstance(reader.sizes["stem"], MapSize) and reader.channels == 256
    for rows in (2, 3):
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                expected = maps_of(made, torch.randn(rows, 3, 64, 32))
            torch.testing.assert_close(reader.seen[-1], expected)
    assert all(tap.kept is None for tap in made.layer3.taps.values()), "nothing is kept behind a pass"


def test_gradients_flow_through_what_is_read():
    made = tapped_backbone()
    made.forward_features(torch.randn(2, 3, 64, 32)).sum().backward()
    assert made.conv1[0].weight.grad.any()
    assert all(parameter.grad is None for parameter in made.layer3.module.parameters())


def test_a_copy_reads_its_own_maps():
    made = tapped_backbone()
    copied = deepcopy(made)
    with torch.no_grad():
        copied.bn1.weight.mul_(2)
    images = torch.randn(2, 3, 64, 32)
    expected = maps_of(copied, images)
    made.forward_features(images)
    torch.testing.assert_close(reader_of(copied).seen[-1], expected)
    assert not torch.equal(reader_of(made).seen[-1]["layer1"], expected["layer1"])


def network(stems, **more):
    return ReIDNetwork(
        backbone=tapped_backbone(),
        modalities=[Modality.VISIBLE, Modality.INFRARED],
        stems=stems,
        identities=3,
        heads={"global": HEADS.options_of({"type": "bnneck"}, "global")},
        pooling=Pooling("gem"),
        **more,
    )


@pytest.mark.parametrize("stems", ["shared", "source"])
def test_rows_of_all_stems_are_read_together(stems):
    made = network(stems)
    made(torch.randn(4, 3, 64, 32), [1, 0, 0, 1])
    assert {len(found) for found in reader_of(made.backbone).seen[-1].values()} == {4}


def test_stems_that_hold_what_is_read_are_refused():
    message = r"stem_depth: expected stems that end before layer1, whose input inserts.reader reads; found stage1"
    with pytest.raises(ValueError, match=message):
        network("source", stem_depth="stage1")


class Both(Reader):
    """Reads earlier maps and the input of its place."""

    sees_input = True

    def __init__(self, settings, channels, before, sizes):
        super().__init__(settings, channels, sizes)
        self.before = before

    def forward(self, features, given, tapped):
        assert given.shape[1] == self.before
        return super().forward(features, tapped)


def test_an_insert_may_see_the_input_of_its_place_too():
    made = tapped_backbone(type=f"{__name__}:Both")
    made.forward_features(torch.randn(2, 3, 64, 32))
    assert reader_of(made).before == 128 and set(reader_of(made).seen[-1]) == set(PLACES)


def test_rows_are_not_multiplied_where_earlier_maps_are_read():
    made = create_backbone("resnet10t", **SIZE, pretrained=False, weights=None, last_stride=1).eval()
    named = {"reader": {"type": READER}, "dee": {"type": "dee", "at": ["layer2"]}}
    options = {name: INSERTS.options_of(one, name) for name, one in named.items()}
    with pytest.raises(ValueError, match=r"^inserts.dee.at: dee multiplies .*, so reader can't see earlier maps$"):
        put_inserts(made, options, **SIZE)


def test_a_map_that_comes_later_is_refused():
    made = tapped_backbone(at="layer1")
    with pytest.raises(ValueError, match=r"inserts.reader: expected a map at the output of layer2 before it"):
        made.forward_features(torch.zeros(1, 3, 64, 32))


def test_a_backbone_without_the_place_is_refused():
    with pytest.raises(ValueError, match=r"inserts.reader: the backbone has no module 'layer1'; its own are stem"):
        tapped_backbone("test_convnext", at="stages.1")


def test_gradient_checkpointing_is_refused():
    made = create_backbone("resnet10t", **SIZE, pretrained=False, weights=None, last_stride=1, grad_checkpointing=True)
    with pytest.raises(ValueError, match=r"inserts.reader: reads earlier maps, which gradient checkpointing doesn't"):
        put_inserts(made, {"reader": INSERTS.options_of({"type": READER}, "reader")}, **SIZE)
