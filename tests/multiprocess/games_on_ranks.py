"""Run by each rank of `test_games`: trains the shipped games for some steps and saves what came of it."""

from pathlib import Path
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object

from pipeline.build import build_index, build_table, place_network
from pipeline.config import load_config
from pipeline.distributed import create_training_accelerator
from pipeline.run.folder import run_path
from pipeline.training.prepare import prepare_training
from pipeline.training.step import read_step, set_training_mode, train_step


def train_games(out, games):
    """Saves in `<out>/<number of ranks>.pt`: game -> losses, weights, and the buffers of every rank.

    games: name -> arguments. All is computed in float64, where nothing but the order of sums differs between ranks.
    """
    found = {}
    for name, arguments in games.items():
        AcceleratorState._reset_state()
        settings = load_config(arguments)
        accelerator = create_training_accelerator(settings, str(run_path(settings)))
        index = build_index(settings.data)
        with mock.patch("pipeline.training.prepare.place_network", in_double):
            training = prepare_training(settings, accelerator, index, build_table(settings, index))
        set_training_mode(training)
        losses = []
        for _ in range(training.steps):
            losses.append(read_step(training, train_step(training)).parts)
            training.step += 1
        training.batches.close()
        state = training.bare_method.state_dict()
        found[name] = {"losses": losses, "state": state, "states": gather_object([state])}
    if accelerator.is_main_process:
        torch.save(found, Path(out) / f"{accelerator.num_processes}.pt")


def in_double(network, *more):
    return place_network(network.double(), *more)
