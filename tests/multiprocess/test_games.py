"""Games on several ranks: they train as one does, in every stage."""

import pytest
import torch

from tests.methods.games import SIZES, WITHOUT_CHANCE, short_training
from tests.multiprocess.games_on_ranks import train_games
from tests.multiprocess.ranks import fork_ranks

RANKS = (1, 2)


@pytest.fixture(scope="module")
def found(people, tmp_path_factory):
    """Number of ranks -> game -> what came of it."""
    out = tmp_path_factory.mktemp("games")
    games = {name: [*short_training(name, people, out), *WITHOUT_CHANCE[name], f"name={name}"] for name in SIZES}
    for ranks in RANKS:
        fork_ranks(ranks, out, train_games, out, games)
    return {ranks: torch.load(out / f"{ranks}.pt", weights_only=False) for ranks in RANKS}


@pytest.mark.parametrize("name", SIZES)
def test_two_ranks_train_a_game_as_one_does(name, found):
    one, two = (found[ranks][name] for ranks in RANKS)
    for step, (losses, others) in enumerate(zip(one["losses"], two["losses"], strict=True)):
        assert losses == pytest.approx(others, rel=1e-5, abs=1e-6), step  # float32 in the exchange of figures
    for key, value in one["state"].items():
        torch.testing.assert_close(
            two["state"][key], value, rtol=1e-8, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("name", SIZES)
def test_both_ranks_end_with_the_same_bits(name, found):
    first, second = found[2][name]["states"]
    assert first.keys() == second.keys()
    assert [key for key, value in first.items() if not torch.equal(value, second[key])] == []
