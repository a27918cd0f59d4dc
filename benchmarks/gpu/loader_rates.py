"""Measures captured images a second of the training loader by place of decoding, form of the data and number of views.

    python -m benchmarks.gpu.loader_rates [--device auto] [--seconds 3] [--first 16]

Nothing else uses the device meanwhile: it is what the loader can give, not what it gives during a training. Python ms:
of the thread that makes the batches, a batch. Some rows change what the project leaves to DALI: the share of a batch
that the hardware decoder gets, and whether operators of one kind run at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from nvidia.dali import OperatorConcurrency, Pipeline, fn

from benchmarks.devices import add_device_option, choose_device, describe_device, wait_for
from benchmarks.loader import BATCH, add_data_options, make_data, settings_of, size_of
from benchmarks.loading import open_batches
from dali_ops import execution
from pipeline.errors import one_line_errors
from pipeline.settings import DataSettings, DeriveSettings, LoaderSettings, Settings

WARM_UP = 15
TOGETHER = 20  # batches between two waits: a queue without end would be no rate


@dataclass(frozen=True)
class Case:
    """A row: views of an image, folder of the data, what is special, settings of the loader, and of DALI."""

    views: int
    form: str
    name: str
    loader: dict = field(default_factory=dict)
    hardware_load: float | None = None
    at_once: bool = False
    infrared: str = "equalize"


CPU, MIXED = {"decode": "cpu"}, {"decode": "mixed"}
CASES = (
    Case(2, "encoded", "decode cpu", CPU),
    Case(2, "encoded", "decode mixed", MIXED),
    Case(2, "resized", "nothing to decode"),
    Case(2, "encoded", "mixed, hardware 0", MIXED, hardware_load=0.0),
    Case(2, "encoded", "mixed, hardware 1", MIXED, hardware_load=1.0),
    Case(2, "encoded", "mixed, at once", MIXED, at_once=True),
    Case(2, "encoded", "decode cpu, at once", CPU, at_once=True),
    Case(2, "encoded", "decode cpu, 4 threads", CPU | {"threads": 4}),
    Case(2, "encoded", "mixed, 4 threads", MIXED | {"threads": 4}),
    Case(2, "set", "decode cpu", CPU),
    Case(2, "set", "decode mixed", MIXED),
    Case(2, "encoded", "all on the CPU", {"device": "cpu"}),
    Case(2, "resized", "all on the CPU", {"device": "cpu"}),
    Case(1, "encoded", "decode cpu", CPU),
    Case(1, "resized", "nothing to decode"),
    Case(2, "resized", "spectrum", infrared="spectrum"),
)


@contextlib.contextmanager
def as_asked(case: Case) -> Iterator[None]:
    """Makes DALI's decoders and pipelines, inside, as the case wants them."""
    decoder = fn.decoders.image

    def with_load(*inputs, **keywords):
        hardware = {} if keywords.get("device") != "mixed" else {"hw_decoder_load": case.hardware_load}
        return decoder(*inputs, **keywords, **hardware)

    with contextlib.ExitStack() as changes:
        if case.hardware_load is not None:
            changes.enter_context(mock.patch.object(fn.decoders, "image", with_load))
        if case.at_once:
            concurrent = partial(Pipeline, concurrency=OperatorConcurrency.FULL)
            changes.enter_context(mock.patch.object(execution, "Pipeline", concurrent))
        yield


def settings_for(case: Case, data: DataSettings, folder: Path) -> Settings:
    settings = settings_of(replace(data, root=str(folder / case.form)), case.views)
    derive = DeriveSettings(infrared=[case.infrared])
    return replace(settings, derive=derive, loader=LoaderSettings(**case.loader))


def rate(settings: Settings, device: torch.device, seconds: float) -> tuple[float, float, float]:
    """Returns images a second, milliseconds of Python's thread a batch, seconds to the first batch."""
    begin = time.perf_counter()
    batches = open_batches(settings, device)
    next(batches)
    wait_for(device)
    first = time.perf_counter() - begin
    for _ in range(WARM_UP):
        next(batches)
    wait_for(device)
    begin, busy, count = time.perf_counter(), time.thread_time(), 0
    while not count or time.perf_counter() - begin < seconds:
        for _ in range(TOGETHER):
            next(batches)
        wait_for(device)
        count += TOGETHER
    passed, busy = time.perf_counter() - begin, time.thread_time() - busy
    batches.close()
    return BATCH * count / passed, 1000 * busy / count, first


def show(case: Case, settings: Settings, device: torch.device, seconds: float) -> None:
    """Prints the row of a case; an error is a row too, so that the others are still measured."""
    with as_asked(case):
        try:
            images, busy, first = rate(settings, device, seconds)
            found = f"{images:>9.0f} {busy:>10.2f} {first:>8.1f}"
        except (ValueError, RuntimeError) as error:
            found = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    print(f"{case.views:>5} {case.form:>8} {case.name:>22} {found}", flush=True)


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.loader_rates", description=__doc__.splitlines()[0])
    add_device_option(parser)
    add_data_options(parser)
    parser.add_argument("--seconds", type=float, default=3, help="of each row")
    parser.add_argument("--first", type=int, default=len(CASES), help="rows measured, from the first")
    options = parser.parse_args(argv)
    device = choose_device(options.device)
    possible = [case for case in CASES if device.type == "cuda" or case.loader.get("decode") != "mixed"]
    with tempfile.TemporaryDirectory() as temporary:
        with contextlib.redirect_stdout(io.StringIO()):
            data = make_data(Path(temporary), *size_of(options.size), options.identities)
        print(f"files {options.size}, output 288x144, batches of {BATCH}, {describe_device(device)}")
        print(f"{'views':>5} {'form':>8} {'':>22} {'images/s':>9} {'Python ms':>10} {'first s':>8}", flush=True)
        for case in possible[: options.first]:
            show(case, settings_for(case, data, Path(temporary)), device, options.seconds)


if __name__ == "__main__":
    main()
