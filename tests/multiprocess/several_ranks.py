"""Run by the launcher: `several_ranks.py OUT WORD...` trains ten steps in several ways and saves what came of each."""

import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState

from pipeline.build import build_index, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.evaluate import Tested, choose_extractor, evaluate
from pipeline.run.folder import run_path
from pipeline.train import prepare_training
from pipeline.training.step import loss_of, read_step, set_training_mode, train_step

STEPS = 10
WAYS = {
    "float32": [],
    "accumulated": ["train.accumulate=2"],
    "bfloat16": ["train.precision=bf16"],
    "local": ["loss.mining=local", "batch.ids_per_batch=6"],
}


def run(words):
    """Results of the untrained network, gradients of the first batch, losses of ten steps, weights after them."""
    AcceleratorState._reset_state()  # the precision may change; the process group stays
    settings = load_config(words)
    accelerator = create_accelerator(settings, str(run_path(settings)))
    index = build_index(settings.data)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    network = accelerator.unwrap_model(training.network)
    extract = choose_extractor(settings, network, accelerator)
    results = evaluate(settings, index, extract, accelerator, Tested("none"))
    set_training_mode(training)
    accelerator.backward(loss_of(training, next(training.batches))["loss"])
    gradients = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
    training.optimizer.zero_grad()
    losses = []
    for _ in range(STEPS):
        losses.append(read_step(training, train_step(training)).parts)
        training.step += 1
    training.batches.close()
    weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    return {"results": results.rows.drop(columns="run"), "gradients": gradients, "losses": losses, "weights": weights}


def main():
    out, *words = sys.argv[1:]
    ranks = create_accelerator(load_config(words), out).num_processes
    ways = {name: more for name, more in WAYS.items() if name != "local" or ranks < 4}
    found = {name: run([*words, *more, f"name={name}"]) for name, more in ways.items()}
    if create_accelerator(load_config(words), out).is_main_process:
        torch.save(found, Path(out) / f"{ranks}.pt")


if __name__ == "__main__":
    main()
