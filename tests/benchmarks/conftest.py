"""What benchmarks change in their process is put back."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Small work is done sooner by one thread, above all where other processes are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
