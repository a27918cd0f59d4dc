"""Run by each of several ranks: trains ten steps in several ways and saves what came of each."""

import io
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from unittest import mock

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object

from pipeline import train
from pipeline.build import build_index, build_table, place_network
from pipeline.config import load_config
from pipeline.distributed import create_training_accelerator
from pipeline.evaluation.features import choose_extractor
from pipeline.evaluation.model_info import ModelInfo
from pipeline.evaluation.session import Session, evaluate_extractor
from pipeline.methods.method import TRAIN
from pipeline.run.folder import run_path
from pipeline.training.backward import loss_of
from pipeline.training.prepare import prepare_training
from pipeline.training.step import read_step, set_training_mode, train_step
from tests.methods.parts import CENTER

STEPS = 10
# The shipped defaults but for what is named. In float64 nothing but the order of sums differs between ranks, by 1e-15;
# in float32 the rounding of one rank's own kernels decides which of two equally hard pairs is the hardest.
WAYS = {
    "float64": ["train.ema=0.8"],
    "float32": [],
    "accumulated": ["train.grad_accum_steps=2", "train.norm=frozen"],
    "frozen": ["train.norm=frozen"],
    "bfloat16": ["train.precision=bf16", "train.norm=frozen"],
    "local_norm": ["train.norm=local", "batch.ids_per_batch=6", "train.ema=0.8"],
    "parts": [
        *(f"losses.center.type={CENTER}", "losses.center.weight=0.001", "losses.center.features=[global]"),
        *(f"losses.{name}.features=[global]" for name in ("adversary", "collaborative", "views")),
        *("inserts.mfa.at=layer2", "inserts.dee.at=layer2", "inserts.dee.dropout=0", "inserts.non_local.at=layer3"),
        *("losses.cpm.weight=0.1", "losses.orthogonality.weight=0.01"),
        *("heads.stripes.count=2", "heads.stripes.width=8", "heads.stripes.norm=true"),
        "heads.global.classifiers=source",
        *("losses.weighted_triplet.weight=0.1", "losses.triplet.type=center_triplet", "losses.contrastive.weight=0.1"),
        *("derive.visible=learned", "derive.infrared=learned", "derive.learned=middle"),
        *("losses.distribution_consistency.width=8", "losses.distribution_consistency.features=[stripes_0,stripes_1]"),
        *("losses.hetero_center_triplet.joined=true", "losses.hetero_center_triplet.features=[stripes_0,stripes_1]"),
        *("inserts.mam.at=layer4", "losses.cluster.type=center_cluster", "losses.cluster.weight=0.1"),
        "losses.modality_learning.features=[global]",
        *("losses.quadruple_center.weight=0.1", "losses.pools.type=triplet", "losses.pools.weight=0.1"),
        "losses.pools.pools=[[visible,infrared],[infrared,visible_derived]]",
        *("train.steps_per_epoch=10", "train.freeze_backbone_epochs=0.5"),
    ],
    "local_mining": ["method.mining=local", "train.norm=frozen", "batch.ids_per_batch=6"],
}


@contextmanager
def in_double(way):
    """Networks in float64, where the way says so."""
    if way not in ("float64", "parts"):
        yield
        return
    with mock.patch(
        "pipeline.training.prepare.place_network", lambda network, *more: place_network(network.double(), *more)
    ):
        yield


def run(arguments):
    """Gradients of the first batch; losses of ten steps; weights, buffers of every rank and results after them."""
    AcceleratorState._reset_state()  # the precision may change; the process group stays
    settings = load_config(arguments)
    accelerator = create_training_accelerator(settings, str(run_path(settings)))
    index = build_index(settings.data)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    method = accelerator.unwrap_model(training.method)
    set_training_mode(training)
    accelerator.backward(loss_of(training, training.batches.take(TRAIN, 0))["loss"])
    gradients = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])
    for player in training.players:
        player.optimizer.zero_grad()
    losses = []
    for _ in range(STEPS):
        losses.append(read_step(training, train_step(training)).parts)
        training.step += 1
    training.batches.close()
    tested = training.tested
    buffers = joined(tested.buffers())
    extractor = choose_extractor(settings, accelerator, lambda: tested)
    evaluation = evaluate_extractor(Session(settings, None, index, accelerator), extractor, ModelInfo("none"))
    return {
        "results": evaluation.result.trial_results.drop(columns="run"),
        "gradients": gradients,
        "losses": losses,
        "weights": joined(tested.parameters()),
        "buffers": gather_object([buffers]),  # of each rank
    }


def joined(tensors):
    return torch.cat([tensor.detach().flatten().double() for tensor in tensors])


def said_of_few_identities(arguments):
    """What a training says on this rank whose batch has too few identities for the ranks to mine alone."""
    with redirect_stderr(io.StringIO()) as said:
        try:
            train.main([*arguments, "name=few", "method.mining=local", "batch.ids_per_batch=3"])
        except SystemExit as ended:
            return ended.code, said.getvalue()
    return 0, said.getvalue()


def train_all_ways(out, arguments):
    """Saves in `<out>/<number of ranks>.pt`: way -> what came of it, and what two ranks say to too few identities."""
    ranks, found = create_training_accelerator(load_config(arguments), out).num_processes, {}
    for way, more in WAYS.items():
        if ranks < 4 or way in ("float64", "float32"):  # four share two cores
            with in_double(way):
                found[way] = run([*arguments, *more, f"name={way}"])
    few = gather_object([said_of_few_identities(arguments)]) if ranks == 2 else None
    if create_training_accelerator(load_config(arguments), out).is_main_process:
        torch.save((found, few), Path(out) / f"{ranks}.pt")
