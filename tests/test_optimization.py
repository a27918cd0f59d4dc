import math
from copy import deepcopy

import numpy as np
import pytest
import timm.optim
import torch

from pipeline.batch import Modality
from pipeline.optimization import (
    check_optimizer,
    check_schedule,
    create_optimizer,
    depends_on_length,
    learning_rate_factor,
    schedule_problems,
    set_learning_rate,
)
from pipeline.optimization.optimizer import fill_momentum
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
    settings = OptimizerSettings(schedule="cosine", warmup=2, lr_decay=0.2)
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


class Slow:
    """The formulas of torch's documentation, in float64, with a learning rate and weight decay for each step."""

    lr, decay, momentum, beta_1, beta_2, eps = 0.01, 0.1, 0.9, 0.9, 0.999, 1e-8

    @classmethod
    def sgd(cls, weight, gradients):
        buffer = np.zeros_like(weight)
        for gradient in gradients:
            gradient = gradient + cls.decay * weight
            buffer = cls.momentum * buffer + gradient
            weight = weight - cls.lr * (gradient + cls.momentum * buffer)  # Nesterov's
        return weight

    @classmethod
    def adam(cls, weight, gradients, decoupled=False):
        first, second = np.zeros_like(weight), np.zeros_like(weight)
        for step, gradient in enumerate(gradients, start=1):
            if decoupled:
                weight = weight * (1 - cls.lr * cls.decay)
            else:
                gradient = gradient + cls.decay * weight
            first = cls.beta_1 * first + (1 - cls.beta_1) * gradient
            second = cls.beta_2 * second + (1 - cls.beta_2) * gradient**2
            unbiased = first / (1 - cls.beta_1**step), second / (1 - cls.beta_2**step)
            weight = weight - cls.lr * unbiased[0] / (np.sqrt(unbiased[1]) + cls.eps)
        return weight

    @classmethod
    def adamw(cls, weight, gradients):
        return cls.adam(weight, gradients, decoupled=True)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_torchs_own_optimizers_step_by_their_formulas_fused(name):
    random = np.random.default_rng(0)
    begin, gradients = random.normal(size=(3, 4)), random.normal(size=(3, 3, 4))
    weight = torch.nn.Parameter(torch.tensor(begin))
    settings = OptimizerSettings(name=name, weight_decay=Slow.decay)
    optimizer = create_optimizer([{"params": [weight], "lr": Slow.lr}], settings)
    assert optimizer.defaults["fused"] and type(optimizer).__module__.startswith("torch.optim")
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), getattr(Slow, name)(begin, gradients), rtol=1e-12)


ELSEWHERE = ("bnb", "fused")  # of other packages, for GPUs
COMPILED = ("kron", "kronc", "kronw")  # compile their steps for seconds; tried by hand
HERE = [name for name in timm.optim.list_optimizers() if not name.startswith(ELSEWHERE)]


def three_steps(optimizer, parameters, without=()):
    generator = torch.Generator().manual_seed(len(optimizer.state))
    for _ in range(3):
        for number, parameter in enumerate(parameters):
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = None if number in without else gradient
        optimizer.step()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in HERE if name not in ("adahessian", *COMPILED)])
def test_every_optimizer_of_timm_leaves_what_has_no_gradient_and_resumes_from_its_state(name):
    settings, shapes = OptimizerSettings(name=name), [(8, 3, 3, 3), (8,), (4, 8), (4,)]

    def start():
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
        groups = [{"params": parameters[:2], "lr": 0.001}, {"params": parameters[2:], "lr": 0.01, "weight_decay": 0.0}]
        return parameters, create_optimizer(groups, settings)

    whole, optimizer = start()
    begin = [parameter.detach().clone() for parameter in whole]
    three_steps(optimizer, whole, without=[0])
    moved = [not torch.equal(parameter, before) for parameter, before in zip(whole, begin, strict=True)]
    assert moved == [False, True, True, True]
    resumed, fresh = start()
    with torch.no_grad():
        for parameter, other in zip(resumed, whole, strict=True):
            parameter.copy_(other)
    fresh.load_state_dict(deepcopy(optimizer.state_dict()))
    three_steps(optimizer, whole)
    three_steps(fresh, resumed)
    assert all(torch.equal(parameter, other) for parameter, other in zip(whole, resumed, strict=True))


@pytest.mark.parametrize("name", ["lamb", "lion", "nadamw", "sgdw", "momentum"])
def test_other_optimizers_are_what_timms_factory_makes(name):
    weights = [torch.nn.Parameter(torch.ones(2, 3)) for _ in range(2)]
    mine = create_optimizer([{"params": weights[:1], "lr": 0.1}], OptimizerSettings(name=name, momentum=0.8))
    theirs = timm.optim.create_optimizer_v2(weights[1:], name, lr=0.1, weight_decay=5e-4, momentum=0.8)
    for weight, optimizer in zip(weights, (mine, theirs), strict=True):
        weight.grad = torch.arange(6.0).view(2, 3)
        optimizer.step()
    assert type(mine) is type(theirs) and torch.equal(*weights)


def test_further_arguments_reach_the_optimizer():
    settings = OptimizerSettings(name="adam", kwargs={"betas": [0.5, 0.9], "amsgrad": True, "fused": False})
    (group,) = create_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}], settings).param_groups
    assert (group["betas"], group["amsgrad"], group["fused"]) == ((0.5, 0.9), True, False)
    plain = OptimizerSettings(kwargs={"nesterov": False})
    (group,) = create_optimizer([{"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.1}], plain).param_groups
    assert (group["nesterov"], group["momentum"]) == (False, 0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "adamm"}, "optimizer.name: expected an optimizer of timm; found 'adamm'; the nearest is adam"),
        ({"name": "?"}, r"optimizer.name: expected .*; found '\?'; `timm.optim.list_optimizers\(\)` has their names"),
        ({"name": "adahessian"}, "optimizer.name: adahessian needs second derivatives"),
        ({"name": "adam", "kwargs": {"beta": 1}}, "optimizer.kwargs: adam has no argument beta; the nearest is betas"),
        ({"kwargs": {"?": 1}}, r"optimizer.kwargs: sgd has no argument \?; it takes dampening, nesterov, "),
        ({"kwargs": {"lr": 1}}, "optimizer.kwargs: lr has a key of its own, optimizer.lr"),
        ({"name": "adam", "kwargs": {"betas": [2, 0]}}, "optimizer.name: adam can't be made: Invalid beta parameter"),
        ({"name": "adam", "kwargs": {"eps": "small"}}, "optimizer.name: adam can't be made: "),
        ({"name": "lamb", "kwargs": {"params": []}}, "optimizer.kwargs: lamb has no argument params"),
        ({"name": "sgdw", "momentum": 0.0}, "optimizer.name: sgdw can't be made: Nesterov momentum requires"),
    ],
)
def test_an_optimizer_that_cannot_be_made_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        check_optimizer(OptimizerSettings(**arguments))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="they may be usable")
@pytest.mark.parametrize("name", ["bnbadam", "fusedlamb"])
def test_optimizers_of_other_packages_say_what_they_need(name):
    with pytest.raises(ValueError, match=rf"optimizer.name: {name} can't be used here: CUDA required"):
        check_optimizer(OptimizerSettings(name=name))


@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_shares_of_the_training_are_epochs_of_it(schedule):
    common = {"schedule": schedule, "lr_decay": 0.2}
    shares = OptimizerSettings(schedule_unit="share", warmup=0.1, milestones=[0.3, 0.7], **common)
    for epochs in (10, 30, 70):
        steps = [OptimizerSettings(warmup=epochs // 10, milestones=[epochs * 3 // 10, epochs * 7 // 10], **common)]
        positions = [epoch + part / 4 for epoch in range(epochs) for part in range(4)]
        assert [learning_rate_factor(epoch, epochs, shares) for epoch in positions] == pytest.approx(
            [learning_rate_factor(epoch, epochs, steps[0]) for epoch in positions], rel=1e-12
        )


def test_only_shares_and_the_cosine_depend_on_the_length():
    for schedule, unit in ((schedule, unit) for schedule in ("step", "cosine") for unit in ("epochs", "share")):
        settings = OptimizerSettings(schedule=schedule, schedule_unit=unit, warmup=0.5, milestones=[0.75])
        factors = [[learning_rate_factor(epoch / 4, epochs, settings) for epoch in range(8)] for epochs in (2, 4)]
        assert depends_on_length(settings) == (factors[0] != factors[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "optimizer.warmup: expected a share of train.epochs, 0-1, as .*; found 10"),
        ({"warmup": 0.1}, "optimizer.milestones: expected a share of train.epochs, 0-1, as .*; found 20"),
        ({"warmup": 0.1, "schedule": "cosine"}, None),
        ({"warmup": 0.1, "milestones": [0.5, 1.0]}, None),
    ],
)
def test_a_share_above_one_is_refused(arguments, message):
    check_schedule(OptimizerSettings(**arguments))  # of epochs
    shares = OptimizerSettings(schedule_unit="share", **arguments)
    if message is None:
        check_schedule(shares)
    else:
        with pytest.raises(ValueError, match=message):
            check_schedule(shares)


@pytest.mark.parametrize(
    ("epochs", "arguments", "problems"),
    [
        (80, {}, []),
        (60, {"milestones": [20, 50]}, []),
        (20, {}, ["optimizer.milestones: 20, 50 of"]),
        (8, {}, ["optimizer.warmup: the warm-up of 10 epochs is not over", "optimizer.milestones: 20, 50"]),
        (8, {"schedule": "cosine"}, ["optimizer.warmup: the warm-up of 10 epochs is not over"]),
        (8, {"schedule": "cosine", "warmup": 1}, []),
        (8, {"schedule_unit": "share", "warmup": 0.1, "milestones": [0.25, 0.75]}, []),
        (
            8,
            {"schedule_unit": "share", "warmup": 1.0, "milestones": [0.25, 1.0]},
            ["optimizer.warmup: the warm-up of 1 of the training is not over", "optimizer.milestones: 1 of"],
        ),
    ],
)
def test_what_of_the_schedule_is_never_reached_is_said(epochs, arguments, problems):
    found = schedule_problems(epochs, OptimizerSettings(**arguments))
    assert len(found) == len(problems)
    assert all(text.startswith(problem) for text, problem in zip(found, problems, strict=True))
    if epochs == 8 and not arguments:
        assert "gets to 0.82 of optimizer.lr" in found[0]
