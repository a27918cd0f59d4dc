"""Processes that begin with everything imported: forked from one that does nothing but import."""

import multiprocessing
import os
import signal
from multiprocessing import forkserver

import pytest
import torch

CONTEXT = multiprocessing.get_context("forkserver")
SERVER = forkserver.ForkServer()  # another than that of this process's own work, which imports less
SERVER.set_forkserver_preload(["pipeline.train", "pipeline.evaluate"])


def fork(function, *arguments, output, environment=None, threads=1):
    """Starts a process on the CPU that calls `function`, as `python -m` would: what it says is in the file `output`.

    `threads` are torch's. Its session is its own.
    """
    process = CONTEXT.Process(target=_call, args=(function, arguments, output, environment or {}, threads))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # of the server, which the first call starts
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setattr(forkserver, "connect_to_new_process", SERVER.connect_to_new_process)
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
