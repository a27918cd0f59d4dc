"""Output of pipelines -> normalized torch tensors."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence

import numpy as np
import torch
from nvidia.dali import Pipeline
from nvidia.dali.backend import TensorCPU, TensorGPU
from nvidia.dali.plugin.pytorch import feed_ndarray

from dali_ops.normalize import Normalization, normalize_into


class TorchOutput:
    """Takes the batches of pipelines, whose outputs are uint8 HWC images of one size and three channels."""

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        device: torch.device,
        normalization: Normalization,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Takes pipelines that make a batch each in turn (`execution.in_turn`); all are on the CPU, or on one GPU.

        `device` is where the tensors are wanted: the pipelines', or a GPU that pipelines on the CPU feed.
        """
        self.device, self.normalization, self.dtype = device, normalization, dtype
        self._turns = itertools.cycle(pipelines)
        self._free: list[np.ndarray] = []

    def next(self) -> torch.Tensor:
        """Runs the next pipeline once: (outputs * n, 3, height, width) normalized, on the device, output after output.

        In channels_last memory. The tensor is torch's own: it can be kept, and freed while kernels that read it are
        still queued, which is not guaranteed for memory that DALI lends by DLPack. On a GPU all is queued on torch's
        current stream; the host waits for DALI's part on a CPU, never for the GPU. Raises StopIteration when the source
        has ended.
        """
        pipeline = next(self._turns)
        if pipeline.device_id is None:
            outputs = pipeline.run()  # held while their memory is read
            views = [torch.from_dlpack(output.as_tensor()) for output in outputs]
            return self._normalized(views if self.device.type == "cpu" else send(views, self.device))
        with torch.cuda.device(self.device):
            stream = torch.cuda.current_stream(self.device)
            outputs = pipeline.run(stream)  # by position: it takes names for those of inputs
            return self._normalized([take(output.as_tensor(), self.device, stream) for output in outputs])

    def _normalized(self, views: Sequence[torch.Tensor]) -> torch.Tensor:
        """Turns (n, height, width, 3) uint8 each, on the device, into what `next` returns."""
        count, *image = views[0].shape
        images = self._empty((len(views) * count, *image))
        for number, view in enumerate(views):
            normalize_into(images[number * count : (number + 1) * count], view, self.normalization)
        return images.permute(0, 3, 1, 2).to(self.dtype)

    def _empty(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Returns float32 memory; on the CPU that of an earlier batch that is no longer referenced.

        Memory of this size comes fresh from the system and goes back at once: a page fault for every 4 KB, which costs
        as much as all the rest of a batch.
        """
        if self.device.type != "cpu":
            return torch.empty(shape, device=self.device)
        fitting = [number for number, memory in enumerate(self._free) if memory.shape == shape]
        memory = self._free.pop(fitting[0]) if fitting else np.empty(shape, np.float32)
        lent = memory.view()
        weakref.finalize(lent, self._free.append, memory).atexit = False
        return torch.from_numpy(lent)


def send(views: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
    """Copies views in host memory to a GPU, queued on torch's current stream; they may be overwritten at once.

    Through one pinned buffer, without which the host would wait at each view for all that is queued; torch keeps the
    buffer for the next batch, and reuses it when its copy is done.
    """
    count, *image = views[0].shape
    pinned = torch.empty((len(views) * count, *image), dtype=torch.uint8, pin_memory=device.type == "cuda")
    torch.cat(list(views), out=pinned)
    return pinned.to(device, non_blocking=True).chunk(len(views))


def take(view: TensorCPU | TensorGPU, device: torch.device, stream: torch.cuda.Stream) -> torch.Tensor:
    """Copies a view in DALI's memory to torch's, of the same GPU, queued on the stream."""
    return feed_ndarray(view, torch.empty(tuple(view.shape()), dtype=torch.uint8, device=device), cuda_stream=stream)
