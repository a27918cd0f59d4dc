"""What a pipeline gives -> one torch tensor."""

from __future__ import annotations

import torch
from nvidia.dali import Pipeline
from nvidia.dali.plugin.pytorch import feed_ndarray, to_torch_type


def next_images(pipeline: Pipeline) -> torch.Tensor:
    """Runs the pipeline once: (outputs * n, 3, height, width) on its device, output after output.

    All outputs are copied into one new tensor, on the device, on torch's current stream; nothing waits on the host.
    The copy does the work of the concatenation that a batch of several views needs anyway. The tensor is torch's own:
    it can be kept, and freed while kernels that read it are still queued, which is not promised of memory that DALI
    lends by DLPack. Raises StopIteration when the source has ended.
    """
    if pipeline.device_id is None:
        return _gather(pipeline.run(), torch.device("cpu"), None)
    device = torch.device("cuda", pipeline.device_id)
    with torch.cuda.device(device):
        stream = torch.cuda.current_stream(device)
        return _gather(pipeline.run(cuda_stream=stream), device, stream)


def _gather(outputs: tuple, device: torch.device, stream: torch.cuda.Stream | None) -> torch.Tensor:
    views = [output.as_tensor() for output in outputs]
    count, *image = views[0].shape()
    dtype = to_torch_type[views[0].dtype]
    images = torch.empty((len(views) * count, *image), dtype=dtype, device=device)
    for number, view in enumerate(views):
        feed_ndarray(view, images[number * count : (number + 1) * count], cuda_stream=stream)
    return images
