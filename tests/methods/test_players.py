"""Players: each loss moves the players it is for, and nobody else."""

import copy

import pytest
import torch
from torch import nn

from pipeline.methods.players import Player, Players


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def players_of(*networks, clip=None, lr=0.1):
    made = {f"player_{place}": torch.optim.SGD(one.parameters(), lr) for place, one in enumerate(networks)}
    return Players([Player(name, optimizer, lambda epoch: 1.0) for name, optimizer in made.items()], clip)


def weights(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def equal(module, before):
    return all(torch.equal(one, other) for one, other in zip(module.parameters(), before, strict=True))


@pytest.fixture()
def two():
    return network(0), nn.Sequential(nn.Linear(2, 2).double()), torch.randn(5, 3, dtype=torch.float64)


def test_a_loss_moves_its_player_and_leaves_the_other_to_the_bit_without_a_gradient(two):
    first, second, inputs = two
    players, before = players_of(first, second), weights(second)
    players.descend(second(first(inputs)).square().mean(), "player_0")
    assert equal(second, before) and all(parameter.grad is None for parameter in second.parameters())
    moved = weights(first)
    players.descend(second(first(inputs)).square().mean(), "player_1")
    assert equal(first, moved) and not equal(second, before)
    players.end()


def test_a_move_is_a_step_of_gradient_descent(two):
    first, second, inputs = two
    players, before = players_of(first, second), weights(first)
    gradients = torch.autograd.grad(second(first(inputs)).square().mean(), [*first.parameters()])
    players.descend(second(first(inputs)).square().mean(), "player_0")
    for now, then, gradient in zip(first.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(now, then - 0.1 * gradient, rtol=0, atol=1e-15)
    expected = torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()
    assert players.gradient_norm.item() == pytest.approx(expected.item(), rel=1e-6)


def test_gradients_of_several_losses_add_up_before_a_step(two):
    first, second, inputs = two
    players, twin = players_of(first, second), copy.deepcopy(first)
    hidden, alone = first(inputs), players_of(twin)
    alone.descend(twin(inputs).square().mean() + second(twin(inputs)).sum(), "player_0")
    players.collect(hidden.square().mean(), "player_0", retain=True)
    players.collect(second(hidden).sum(), "player_0", "player_1")
    assert players.loss.item() == pytest.approx(alone.loss.item(), rel=1e-6)
    players.step("player_0", "player_1")
    for one, other in zip(first.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-15)
    assert all(parameter.grad is None for parameter in [*first.parameters(), *second.parameters()])


def test_a_network_that_no_loss_used_keeps_its_weights_in_spite_of_decay():
    used, unused = network(0), network(1)
    optimizer = torch.optim.Adam([*used.parameters(), *unused.parameters()], weight_decay=0.1)
    players, before = Players([Player("both", optimizer, lambda epoch: 1.0)]), weights(unused)
    players.descend(used(torch.ones(2, 3, dtype=torch.float64)).sum(), "both")
    assert equal(unused, before)


def test_each_player_is_clipped_by_itself(two):
    first, second, inputs = two
    players, before = players_of(first, second, clip=1e-3, lr=1.0), (weights(first), weights(second))
    players.descend(1e3 * second(first(inputs)).square().mean(), "player_0", "player_1")
    for module, then in zip((first, second), before, strict=True):
        moved = [(now - old).square().sum() for now, old in zip(module.parameters(), then, strict=True)]
        assert torch.stack(moved).sum().sqrt().item() == pytest.approx(1e-3, rel=1e-3)


def test_gradients_that_moved_nobody_are_a_mistake_of_the_method(two):
    first, second, inputs = two
    players = players_of(first, second)
    players.collect(first(inputs).sum(), "player_0")
    with pytest.raises(AssertionError, match="player_0 collected gradients and didn't step"):
        players.end()


def test_a_player_that_moved_is_used_with_its_new_weights_in_bfloat16():
    moved = nn.Linear(8, 8)
    players, inputs = players_of(moved, lr=100.0), torch.ones(1, 8)
    with torch.autocast("cpu", torch.bfloat16):
        before = moved(inputs)
        players.descend(before.float().square().sum(), "player_0")
        after = moved(inputs)
    assert (after - before).abs().max() > 1
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(after, moved(inputs))


def test_the_first_player_that_moved_leads(two):
    first, second, inputs = two
    players = players_of(first, second)
    assert players.leading.name == "player_0"
    players.descend(second(first(inputs)).sum(), "player_1")
    assert players.leading.name == "player_1"
