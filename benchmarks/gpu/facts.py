"""Facts of the machine: GPU, driver, cores, memory, versions. The first lines of every result."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import subprocess

import torch

from benchmarks.devices import choose_device, describe_device
from pipeline.loading.hardware import usable_cores

PACKAGES = ("torch", "torchvision", "nvidia.dali", "timm", "accelerate", "omegaconf", "pandas", "numpy")
QUERY = "--query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.memory"


def main(argv: list[str] | None = None) -> None:
    print(describe_device(choose_device("auto")))
    if shutil.which("nvidia-smi"):
        shown = subprocess.run(["nvidia-smi", QUERY, "--format=csv,noheader"], capture_output=True, text=True)
        print(shown.stdout.strip() or shown.stderr.strip())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    shared = shutil.disk_usage("/dev/shm").free / 2**30
    print(f"{usable_cores()} cores, {memory:.0f} GiB of memory, {shared:.0f} GiB free in /dev/shm")
    versions = (f"{name} {importlib.import_module(name).__version__}" for name in PACKAGES)
    print(f"Python {platform.python_version()}, {', '.join(versions)}")
    print(f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")


if __name__ == "__main__":
    main()
