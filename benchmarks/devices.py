"""Where a benchmark runs: the device it is told, waiting for it, and the line above every table that says so."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

DEVICES = ("auto", "cpu", "cuda")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU where there is one")


def choose_device(argument: str) -> torch.device:
    """Returns the device that a name of DEVICES means; ValueError for a GPU where PyTorch can use none."""
    found = torch.cuda.is_available()
    if argument == "cuda" and not found:
        raise ValueError("--device: cuda needs a GPU that PyTorch can use; found none")
    return torch.device("cuda", 0) if found and argument != "cpu" else torch.device("cpu")


def wait_for(device: torch.device) -> None:
    """Waits until all that was queued on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(repeated: Callable[[], object], device: torch.device, times: int, warm_up: int) -> float:
    """Seconds of a call, mean over `times` after `warm_up`."""
    for _ in range(warm_up):
        repeated()
    wait_for(device)
    begin = time.perf_counter()
    for _ in range(times):
        repeated()
    wait_for(device)
    return (time.perf_counter() - begin) / times


def describe_device(device: torch.device, precision: str = "float32") -> str:
    """Returns device, precision, and where float32 is rounded to the 10 bits of TF32, which CPUs don't have."""
    if device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads, {precision}, no TF32"
    return f"{torch.cuda.get_device_name(device)}, {precision}, TF32 in {tf32_places()}"


def tf32_places() -> str:
    allowed = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "matrix products": torch.backends.cuda.matmul.allow_tf32,
    }
    return " and ".join(name for name, on in allowed.items() if on) or "nothing"
