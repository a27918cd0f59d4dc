"""Processes that begin with everything imported: forked from one that does nothing but import."""

import multiprocessing
import os
import signal
from multiprocessing import forkserver

import pytest
import torch

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pipeline.train", "pipeline.evaluate"])


def fork(function, *arguments, output, environment=None, threads=1):
    """Starts a process on the CPU that calls `function`, as `python -m` would: what it says is in the file `output`.

    `threads` are torch's. Its session is its own.
    """
    with pytest.MonkeyPatch.context() as patch:  # of the process that imports; it is started with the first
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        forkserver.ensure_running()
    process = CONTEXT.Process(target=_call, args=(function, arguments, output, environment or {}, threads))
    process.start()
    return process


def _call(function, arguments, output, environment, threads):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(output, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.update(environment)
    torch.set_num_threads(threads)
    function(*arguments)
