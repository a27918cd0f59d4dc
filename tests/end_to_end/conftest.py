"""Equal bits, which a GPU doesn't promise: the backward passes of cuDNN and of max-pooling add in any order."""

from contextlib import contextmanager

import pytest
import torch
from accelerate.state import AcceleratorState


@pytest.fixture(scope="session")
def hidden_gpus():
    """A context that hides GPUs from this process, which may have looked at them before, and from those it starts."""

    @contextmanager
    def hidden():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            patch.setattr(torch.cuda, "is_available", lambda: False)
            patch.setattr(torch.cuda, "device_count", lambda: 0)
            yield
        AcceleratorState._reset_state(reset_partial_state=True)  # it keeps the device

    return hidden


@pytest.fixture()
def assert_equal(hidden_gpus):
    """Compares two state dictionaries to the bit. Who asks for it trains on the CPU from the beginning of the test."""

    def compare(first, second):
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name

    with hidden_gpus():
        yield compare
