import math
from copy import deepcopy

import pytest
import torch

from pipeline.batch import Modality
from pipeline.optimization import (
    create_optimizer,
    fill_momentum,
    learning_rate_factor,
    schedule_problems,
    set_learning_rate,
)
from pipeline.settings import OptimizerSettings
from tests.models.networks import make_network


@pytest.fixture(scope="module")
def network():
    return make_network(height=32, width=16, last_stride=1, modalities=[Modality.VISIBLE, Modality.INFRARED])


def groups_of(network, lr=0.1, factor=0.1):
    head = network.head_parameters()
    rest = [p for p in network.parameters() if p.requires_grad and all(p is not other for other in head)]
    return [{"params": rest, "lr": lr * factor}, {"params": head, "lr": lr}]


def test_the_papers_recipe_warms_up_and_decays_at_20_and_50():
    recipe = OptimizerSettings()
    factors = {epoch: learning_rate_factor(epoch, 80, recipe) for epoch in (0, 5, 10, 19.99, 20, 49.99, 50, 79.99)}
    assert factors == pytest.approx(
        {0: 0.1, 5: 0.55, 10: 1, 19.99: 1, 20: 0.1, 49.99: 0.1, 50: 0.01, 79.99: 0.01}, rel=1e-12
    )


def test_cosine_goes_from_one_to_its_last_factor_and_stays_there():
    settings = OptimizerSettings(schedule="cosine", warmup_epochs=2, lr_decay=0.2)
    assert learning_rate_factor(2, 10, settings) == 1
    assert learning_rate_factor(6, 10, settings) == pytest.approx(0.6)
    assert learning_rate_factor(10, 10, settings) == pytest.approx(0.2)
    assert learning_rate_factor(11, 10, settings) == pytest.approx(0.2)
    expected = 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2
    assert learning_rate_factor(4, 10, settings) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_every_trained_parameter_is_in_one_group_and_the_head_learns_faster(network, name):
    optimizer = create_optimizer(groups_of(network, lr=0.1, factor=0.1), OptimizerSettings(name=name))
    rest, head = optimizer.param_groups
    own = network.heads["global"]
    assert {id(p) for p in head["params"]} == {id(own.neck.weight), id(own.classifier.weight)}
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    set_learning_rate(optimizer, 0.5)
    assert (rest["lr"], head["lr"]) == pytest.approx((0.005, 0.05))
    set_learning_rate(optimizer, 0.5)
    assert head["lr"] == pytest.approx(0.05)  # a factor of the initial rate, not of the last


def test_sgd_is_nesterovs_with_the_recipes_decay(network):
    optimizer = create_optimizer(groups_of(network), OptimizerSettings())
    assert isinstance(optimizer, torch.optim.SGD)
    assert all(group["nesterov"] and group["weight_decay"] == 5e-4 for group in optimizer.param_groups)


def test_a_first_step_that_overflows_leaves_no_trace_in_the_momentum():
    """As fp16's scaler does it: a fused optimizer is told that a gradient is infinite, and leaves the step out."""
    ends = {}
    for overflowed in (False, True):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(1000))
        filler = [torch.full((1000,), 7e7) for _ in range(50)]
        del filler  # what lies in memory that is handed out next
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True, fused=True)
        fill_momentum(optimizer)
        if overflowed:
            weight.grad = torch.full_like(weight, math.inf)
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(1.0), torch.tensor(1.0)
            optimizer.step()
            optimizer.found_inf = torch.tensor(0.0)
        weight.grad = torch.ones_like(weight)
        optimizer.step()
        ends[overflowed] = weight.detach().clone()
    assert torch.equal(ends[True], ends[False])


def test_a_momentum_that_begins_with_zeros_changes_no_step(network):
    filled = create_optimizer(groups_of(deepcopy(network)), OptimizerSettings())
    assert all(torch.count_nonzero(state["momentum_buffer"]) == 0 for state in filled.state.values())
    plain = deepcopy(network)
    groups = [{"params": [q for q in plain.parameters() if q.requires_grad]}]
    unfilled = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True)
    for group in filled.param_groups:
        group["lr"] = 0.01
    mine = dict(named_parameters(filled, network))
    theirs = dict(plain.named_parameters())
    for step in range(3):
        for name, parameter in mine.items():
            torch.manual_seed(step)
            parameter.grad = torch.randn_like(parameter)
            theirs[name].grad = parameter.grad.clone()
        filled.step()
        unfilled.step()
    assert mine and all(torch.equal(parameter, theirs[name]) for name, parameter in mine.items())


def named_parameters(optimizer, network):
    """Names of the optimizer's parameters, which are those of a copy of the network: by their groups' order."""
    head = {"heads.global.neck.weight", "heads.global.classifier.weight"}
    trained = [name for name, q in network.named_parameters() if q.requires_grad]
    rest = [name for name in trained if name not in head]
    names = [rest, [name for name in trained if name in head]]
    for group, of_group in zip(optimizer.param_groups, names, strict=True):
        yield from zip(of_group, group["params"], strict=True)


@pytest.mark.parametrize(
    ("epochs", "arguments", "problems"),
    [
        (80, {}, []),
        (60, {"milestones": [20, 50]}, []),
        (20, {}, ["optimizer.milestones: 20, 50 of"]),
        (8, {}, ["optimizer.warmup_epochs: the warm-up of 10 epochs is not over", "optimizer.milestones: 20, 50"]),
        (8, {"schedule": "cosine"}, ["optimizer.warmup_epochs: the warm-up of 10 epochs is not over"]),
        (8, {"schedule": "cosine", "warmup_epochs": 1}, []),
    ],
)
def test_what_of_the_schedule_is_never_reached_is_said(epochs, arguments, problems):
    found = schedule_problems(epochs, OptimizerSettings(**arguments))
    assert len(found) == len(problems)
    assert all(text.startswith(problem) for text, problem in zip(found, problems, strict=True))
    if epochs == 8 and not arguments:
        assert "gets to 0.82 of optimizer.lr" in found[0]
