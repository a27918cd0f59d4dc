from __future__ import annotations

import pytest
import torch
from nvidia.dali import fn, types

from dali_ops.execution import build, new_pipeline


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine whose GPU DALI can't use, or without one")
def test_a_gpu_that_dali_cannot_use_is_one_line_with_what_to_do():
    pipeline = new_pipeline(batch_size=1, device="gpu", device_id=0, decode="cpu", threads=1, prefetch=1)
    with pipeline:
        pipeline.set_outputs(fn.constant(idata=[1], dtype=types.UINT8, device="gpu"))
    with pytest.raises(ValueError) as refusal:
        build(pipeline)
    message = str(refusal.value)
    assert message.startswith("GPU 0: DALI 2.") and "\n" not in message
    assert "CUDA" in message and message.endswith("or let the CPU do it (loader.device=cpu)")
