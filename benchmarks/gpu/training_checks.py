"""Checks that batches, features, distances and optimizer steps on a GPU are those on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.checks import Check
from benchmarks.gpu.graphs import CPU
from benchmarks.loading import open_batches
from pipeline import evaluate
from pipeline.config import load_config
from pipeline.evaluation.distances import DISTANCES
from pipeline.methods.network import build_network
from pipeline.models.norm import share_statistics
from pipeline.optimization import create_optimizer
from pipeline.settings import Settings
from pipeline.synthetic.generation import generate

BATCHES = 3
LEVEL = 1 / (255 * 0.229)  # of a normalized image
OFF = 0.05  # share of the values that may be more than a level off: resizing rounds, steep curves make more of it
STAGES = ["derive.visible=[weighted_gray,inversion:0.5]", "derive.infrared=[clahe,spectrum]", "derive.mixing=cutmix"]
SHARED = ("resnet10t", "regnety_002", "efficientnet_b0")  # whose batch norms hold no activation, and that do


def arguments_for(folder: Path) -> list[str]:
    """Returns the configuration of a small network on synthetic people, which are generated here."""
    generate("folder", folder / "people", identities=8, images_per_camera=4, seed=0, workers=1)
    return [
        "configs/folder.yaml",
        f"data.root={folder / 'people'}",
        f"output={folder / 'runs'}",
        "name=smoke",
        "augment.height=64",
        "augment.width=32",
        "batch.ids_per_batch=4",
        "batch.images_per_modality=2",
        "model.backbone=resnet10t",
        "model.pretrained=false",
        "train.precision=fp32",
    ]


def training_checks(device: torch.device, folder: Path) -> dict[str, Check]:
    arguments = arguments_for(folder)
    checks: dict[str, Check] = {
        "batches, default": partial(same_batches, load_config(arguments), device),
        "batches, every kind of stage": partial(same_batches, load_config([*arguments, *STAGES]), device),
        "batches, made on the CPU": partial(same_batches, load_config([*arguments, "loader.device=cpu"]), device),
        "clahe that its tiles don't divide": partial(
            clahe_raises, load_config([*arguments, *STAGES, "augment.height=30"]), device
        ),
        "features of an evaluation": partial(same_features, arguments, device, folder),
        "SGD after an overflow": partial(overflow_is_skipped, load_config(arguments), device),
    }
    for name in DISTANCES:
        checks[f"distances, {name}, TF32 allowed"] = partial(exact_distances, name, device)
    for backbone in SHARED:
        changed = [f"model.backbone={backbone}", "model.last_stride=2", "model.stems=shared"]
        checks[f"shared norms of {backbone}"] = partial(
            norms_keep_activations, load_config([*arguments, *changed]), device
        )
    return checks


def same_batches(settings: Settings, device: torch.device) -> tuple[bool, str]:
    """Checks that the loader's batches hold the CPU's images, but for rounding while resizing."""
    ours, cpu = open_batches(settings, device), open_batches(settings, CPU)
    off, largest = 0.0, 0.0
    for _ in range(BATCHES):
        one, other = next(ours), next(cpu)
        if one.modality != other.modality or not torch.equal(one.index.cpu(), other.index):
            return False, "other images than on the CPU"
        difference = (one.images.float().cpu() - other.images.float()).abs() / LEVEL
        off, largest = max(off, float((difference > 1.5).float().mean())), max(largest, float(difference.max()))
    return (
        off < 0.02,
        f"{off:.3%} of the values more than a level off, worst {largest:.1f} levels, on {one.images.device}",
    )


def clahe_raises(settings: Settings, device: torch.device) -> tuple[bool, str]:
    try:
        next(open_batches(settings, device))
    except ValueError as error:
        return True, f"ValueError: {error}"
    return False, "expected a ValueError: there it is another function on a GPU; found none"


def same_features(arguments: list[str], device: torch.device, folder: Path) -> tuple[bool, str]:
    """Checks that `pipeline.evaluate` finds the features of a process without a GPU, in float32, not in TF32."""
    arguments = [*arguments, "loader.device=cpu", "evaluation.batch=16"]  # the same pixels
    files = {name: folder / f"{name}.npz" for name in ("here", "cpu")}
    evaluate.main([*arguments, "--save-features", str(files["here"])])
    if device.type == "cuda":
        command = [sys.executable, "-m", "pipeline.evaluate", *arguments, "--save-features", str(files["cpu"])]
        subprocess.run(command, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, check=True)
    else:
        evaluate.main([*arguments, "--save-features", str(files["cpu"])])
    here, cpu = (np.load(file)["features"].astype(np.float64) for file in files.values())
    error = np.linalg.norm(here - cpu) / np.linalg.norm(cpu)
    return bool(error < 1e-4), f"{cpu.shape} features, relative error {error:.1e}"


def exact_distances(name: str, device: torch.device) -> tuple[bool, str]:
    """Checks that distances have the 23 bits of float32 whatever is allowed elsewhere."""
    generator = torch.Generator().manual_seed(0)
    query, gallery = (torch.randn(64, 2048, generator=generator) for _ in range(2))
    exact = DISTANCES[name](gallery.double())(query.double())
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        made = DISTANCES[name](gallery.to(device))(query.to(device)).double().cpu()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    error = float((made - exact).norm() / exact.norm())
    return error < 1e-6, f"relative error {error:.1e}"


def overflow_is_skipped(settings: Settings, device: torch.device) -> tuple[bool, str]:
    """Checks that a first step that overflows leaves no trace in the momentum of the steps after it."""
    network = build_network(settings, 4).to(device)
    optimizer = create_optimizer([{"params": [*network.parameters()], "lr": settings.optimizer.lr}], settings.optimizer)
    scaler = torch.amp.GradScaler(device.type, init_scale=4.0)
    for gradient in (float("inf"), 1e-3):
        scaler.scale(sum(parameter.sum() for parameter in network.parameters()) * 0).backward()
        # memory that is handed out next holds large numbers
        junk = [torch.full_like(parameter, 1e9) for parameter in network.parameters()]
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter.grad.fill_(gradient * scaler.get_scale())
        del junk
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    largest = max(float(parameter.detach().abs().max()) for parameter in network.parameters())
    return largest < 10, f"largest weight after an overflow and a step {largest:.3g}"


def norms_keep_activations(settings: Settings, device: torch.device) -> tuple[bool, str]:
    """Checks that norms which share their statistics among ranks compute what they computed before."""
    network = build_network(settings, 4).to(device).eval()
    images = torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.inference_mode():
        before = network(images, (0, 0, 1, 1)).pooled
    share_statistics(network, "global")
    with torch.inference_mode():
        after = network(images, (0, 0, 1, 1)).pooled
    error = float((after - before).norm() / before.norm())
    return error < 1e-3, f"features apart by {error:.1e}"
