"""The first epochs, in which the pre-trained part of a network stands still."""

import pytest
import torch

from pipeline.build import build_index, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.methods.method import Share, method_of
from pipeline.training.freezing import check_freezing, frozen_steps
from pipeline.training.prepare import prepare_training
from pipeline.training.step import read_step, set_training_mode, train_step
from tests.methods import broken

FROZEN = ["train.steps_per_epoch=4", "train.freeze_backbone_epochs=0.5"]  # two steps


def prepare(people, tiny, tmp_path, *more):
    settings = load_config([*tiny, *FROZEN, *more, f"data.root={people}", f"output={tmp_path}", "name=run"])
    accelerator = create_accelerator(settings, str(tmp_path))
    index = build_index(settings.data)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    set_training_mode(training)
    return training


def step(training):
    done = read_step(training, train_step(training))
    training.step += 1
    return done.parts


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb"])
def test_the_pretrained_part_stands_still_and_then_moves(people, tiny, tmp_path, optimizer):
    more = [f"optimizer.name={optimizer}", "inserts.non_local.at=layer3", "derive.visible=learned", "train.ema=0.5"]
    training = prepare(people, tiny, tmp_path, *more)
    network, averaged = training.bare_method.network, training.average.module
    begin, begin_averaged = state(network), state(averaged)
    for _ in range(2):
        step(training)
    new = {name for name in begin if name.startswith(("heads", "generators")) or ".insert." in name}
    unused = {"heads.global.neck.bias"}
    moved = changed(begin, state(network))
    assert moved <= new and new - moved - unused == set()
    assert changed(begin_averaged, state(averaged)) <= new
    for _ in range(2):  # the first norm of a residual block whose last one starts at 0 gets no gradient at once
        step(training)
    moved = changed(begin, state(network))
    assert begin.keys() - moved == unused
    training.batches.close()


def test_the_gradients_norm_is_that_of_what_learns(people, tiny, tmp_path):
    training = prepare(people, tiny, tmp_path, "optimizer.weight_decay=0", "optimizer.momentum=0")
    heads = training.bare_method.network.head_parameters()
    before = [parameter.detach().clone() for parameter in heads]
    norm = step(training)["gradient_norm"]
    moved = torch.cat([(was - now).flatten() for was, now in zip(before, heads, strict=True)])
    assert norm == pytest.approx(moved.norm().item() / training.lr, rel=1e-4)
    training.batches.close()


@pytest.mark.parametrize(("epochs", "steps"), [(0, 0), (0.1, 3), (1, 30), (2.51, 75)])
def test_frozen_steps_are_the_nearest_whole_number(epochs, steps):
    assert frozen_steps(load_config([f"train.freeze_backbone_epochs={epochs}"]), 30) == steps


def test_a_parameter_without_gradient_is_still_found(people, tiny, tmp_path):
    training = prepare(people, tiny, tmp_path, f"losses.bug.type={broken.__name__}:Unused")
    with pytest.raises(ValueError, match=r"^method: objective\.terms\.bug\.weight got no gradient in the first step;"):
        step(training)
    training.batches.close()


def test_standing_still_where_nothing_else_learns_is_refused(tiny):
    settings = load_config([*tiny, *FROZEN, "losses.identity=null"])
    method = method_of(settings).build(settings, 5, Share(0, (4,)))
    with pytest.raises(ValueError, match=r"^train\.freeze_backbone_epochs: expected 0 where nothing but the backbone"):
        check_freezing(settings, method)
    check_freezing(load_config([*tiny, "losses.identity=null"]), method)


def test_a_method_that_names_nothing_pretrained_is_refused(tiny):
    settings = load_config([*tiny, *FROZEN])
    method = method_of(settings).build(settings, 5, Share(0, (4,)))
    method.pretrained_parameters = list
    with pytest.raises(
        ValueError, match="expected 0 for the method base_derivative, which names nothing .*; found 0.5"
    ):
        check_freezing(settings, method)
