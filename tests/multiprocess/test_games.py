"""Games on several ranks: they train as one does, in every stage."""

import pytest
import torch

from tests.methods.games import GAMES, SIZES, STAGES
from tests.multiprocess.games_on_ranks import train_games
from tests.multiprocess.ranks import fork_ranks

RANKS = (1, 2)


@pytest.fixture(scope="module")
def found(people, tmp_path_factory):
    """Number of ranks -> game -> what came of it."""
    out = tmp_path_factory.mktemp("games")
    games = {
        name: [
            *("configs/folder.yaml", f"configs/methods/{name}.yaml", "configs/small.yaml", *SIZES[name], *STAGES[name]),
            *(f"data.root={people}", f"output={out}", f"name={name}", "loader.threads=1", "train.epochs=1"),
            *(f"train.steps_per_epoch={2 * len(GAMES[name])}", "optimizer.warmup=0", "optimizer.lr=0.001"),
        ]
        for name in SIZES
    }
    for ranks in RANKS:
        fork_ranks(ranks, out, train_games, out, games)
    return {ranks: torch.load(out / f"{ranks}.pt", weights_only=False) for ranks in RANKS}
