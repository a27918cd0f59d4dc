"""Rounds of decorrelation: when they are, what stands still, what is refused."""

import dataclasses

import pytest
import torch

from pipeline.config import load_config
from pipeline.methods.decorrelation import Decorrelation
from pipeline.methods.method import Share
from pipeline.run.more_epochs import obstacle
from pipeline.settings import Settings

HEAD = {"global": {"type": "embedding", "width": 16}}
METHOD = {"type": "decorrelation", "name": "rounds", "rounds": 2, "rounds_begin": 0.5}


def settings_of(**changes):
    demo = load_config(["configs/demo.yaml", "losses.intra=null", "losses.cross=null"])
    settings = dataclasses.replace(demo, method=METHOD | changes.pop("method", {}), heads=changes.pop("heads", HEAD))
    return dataclasses.replace(settings, train=dataclasses.replace(settings.train, epochs=4, **changes))


def build(**changes):
    return Decorrelation.build(settings_of(**changes), 5, Share(0, (4,)))


def test_stages_share_the_rest_of_the_training():
    assert build().stages(steps_per_epoch=10) == [20, 25, 30, 35]
    assert build(method={"rounds_begin": 0.0, "rounds": 1}).stages(10) == [0, 20]
    assert build().stages(steps_per_epoch=1) == [2, 2, 3, 4]


def test_the_layer_stands_still_in_every_restraint_and_turns_at_its_start():
    method = build()
    (head,) = method.decorrelated
    connected = {*head.connected.parameters()}
    still, turned = [], []
    for step in range(40):
        before = head.connected.weight.detach().clone()
        method.begin_step(step, 10)
        if not torch.equal(head.connected.weight, before):
            turned.append(step)
        with torch.no_grad():
            head.connected.weight.add_(torch.randn_like(before))
        held = {*method.held_still(step, 10)}
        assert held in (set(), connected)
        still += [step] if held else []
    assert turned == [20, 30]
    assert still == [*range(20, 25), *range(30, 35)]


@pytest.mark.parametrize(
    "heads",
    [
        {"global": {"type": "bnneck"}},
        {"global": {"type": "embedding", "norm": True}},
        {"global": {"type": "embedding", "connected": False}},
    ],
)
def test_heads_that_cannot_be_decorrelated_are_refused(heads):
    with pytest.raises(ValueError, match=r"^method\.type: decorrelation needs a head of type embedding"):
        build(heads=heads)


def test_a_term_with_layers_for_the_embedding_is_refused():
    settings = dataclasses.replace(settings_of(), losses={"identity": {}, "collaborative": {}})
    with pytest.raises(ValueError, match=r"^losses\.collaborative: has layers for an embedding"):
        Decorrelation.build(settings, 5, Share(0, (4,)))


def test_a_moving_average_is_refused():
    with pytest.raises(ValueError, match=r"^train\.ema: expected 0 for the method rounds, .*; found 0\.9"):
        build(ema=0.9)


def test_a_longer_training_is_another():
    before = settings_of()
    optimizer = dataclasses.replace(before.optimizer, schedule="step")
    before = dataclasses.replace(before, optimizer=optimizer)
    longer = dataclasses.replace(before, train=dataclasses.replace(before.train, epochs=6))
    assert "the stages of the method depend on the length (method.type=decorrelation)" in obstacle(longer, before)
    plain = dataclasses.replace(before, method=Settings().method)
    assert obstacle(plain, plain) is None
