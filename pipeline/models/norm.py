"""Batch norm of a network whose batch is shared among ranks: whose statistics it normalizes with.

"global"  of the rows of all ranks: any number of ranks trains as one would
"local"   of each rank's own rows: another method on every number of ranks
"frozen"  the backbone keeps those it started with; the BN neck, which has none to keep, those of the rows of all ranks
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from torch import distributed, nn

NORMS = ("global", "local", "frozen")


def choose_norm(setting: str, ranks: int) -> str:
    """Returns one of NORMS for `train.norm`. One rank's own rows are those of all."""
    if setting == "frozen":
        return "frozen"
    return "local" if setting == "local" and ranks > 1 else "global"


def share_statistics(module: nn.Module, norm: str, pretrained: Collection[nn.Module] = ()) -> None:
    """Prepares the norms of a module on its device, in place, for training on several ranks.

    pretrained: norm layers that keep their statistics where `norm` is frozen. Weights and buffers keep their names, so
    that checkpoints and weights don't depend on the number of ranks. timm's converter keeps the activation of layers
    that join norm and activation; torch's own would drop it.
    """
    if norm == "local":
        return
    left_out = {id(layer) for layer in pretrained} if norm == "frozen" else set()
    share = share_on_cpu if next(module.parameters()).device.type == "cpu" else convert_sync_batchnorm
    share_children(module, share, left_out)


def share_children(module: nn.Module, share: Callable[[nn.Module], nn.Module], left_out: set[int]) -> None:
    for name, child in module.named_children():
        if not any(id(layer) in left_out for layer in child.modules()):
            setattr(module, name, share(child))
        elif id(child) not in left_out:
            share_children(child, share, left_out)


def share_on_cpu(part: nn.Module) -> nn.Module:
    """Returns the same module, whose norms now exchange their statistics; torch's layer for this is for GPUs only."""
    for layer in part.modules():
        if isinstance(layer, BatchNormAct2d):
            layer.__class__ = SharedBatchNormAct  # the same parameters and buffers, another forward
        elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.__class__ = SharedBatchNorm
    return part


def freeze_statistics(pretrained: Collection[nn.Module]) -> None:
    """Puts norm layers into evaluation mode."""
    for layer in pretrained:
        layer.eval()


@contextlib.contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keeps the statistics of all norm layers as they are, while layers normalize as in training.

    For a backward pass that runs layers again (gradient checkpointing): each batch counts once. What the layers save
    must be what they saved before, so they go on writing, but with a momentum of 0 and to a counter of nobody.
    """
    layers = norm_layers(module)
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    counter = next((counter.clone() for _, counter in kept if counter is not None), None)
    try:
        for layer in layers:
            layer.momentum, layer.num_batches_tracked = 0.0, counter
        yield
    finally:
        for layer, (momentum, own_counter) in zip(layers, kept, strict=True):
            layer.momentum, layer.num_batches_tracked = momentum, own_counter


def norm_layers(module: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """Returns the batch-norm layers of a module."""
    return [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]


@torch.no_grad()
def average_buffers(network: nn.Module) -> None:
    """Gives every rank the mean over the ranks of the statistics that norm layers keep, in one exchange.

    Those of instance norms are means over images, so that the result doesn't depend on the number of ranks. Called by
    all ranks.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._NormBase)]
    buffers = [buffer for layer in layers for buffer in layer.buffers() if buffer.is_floating_point()]
    if not buffers:
        return
    joined = torch.cat([buffer.flatten() for buffer in buffers])
    distributed.all_reduce(joined)
    joined /= distributed.get_world_size()
    for buffer, mean in zip(buffers, joined.split([buffer.numel() for buffer in buffers]), strict=True):
        buffer.copy_(mean.view_as(buffer))


class _OfAllRanks(torch.autograd.Function):
    """(n,) values of each rank -> (ranks, n) of all, on each.

    Every rank's loss depends on the result, so the gradient of a rank's values is the sum of what all say of them.
    """

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> torch.Tensor:
        gathered = [torch.empty_like(values) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, values)
        return torch.stack(gathered)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total[distributed.get_rank()]


def statistics_of_all_ranks(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns mean (C,), variance (C,) and number () of the values (B, C, ...) of each channel, over all ranks.

    Joined by the formula of Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance", 1983.
    """
    variance, mean = torch.var_mean(values, [0, *range(2, values.ndim)], correction=0)
    own_count = values.new_tensor([values.numel() / values.shape[1]])
    gathered = _OfAllRanks.apply(torch.cat([mean, variance, own_count]))
    means, variances, counts = gathered.split([len(mean), len(mean), 1], dim=1)
    counts = counts.detach()
    count = counts.sum()
    mean = (counts * means).sum(dim=0) / count
    return mean, (counts * (variances + (means - mean).square())).sum(dim=0) / count, count


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of (B, C) or (B, C, ...) features of a float type, B >= 1, by the statistics of the rows of all ranks.

    Ioffe and Szegedy, "Batch Normalization", 2015, algorithm 1, in float32 or wider.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.normalize(features) if self.training else super().forward(features)

    def _check_input_dim(self, features: torch.Tensor) -> None:
        """Any number of dimensions from two."""

    @torch.compiler.disable  # exchanges between ranks
    def normalize(self, features: torch.Tensor) -> torch.Tensor:
        values = features.to(torch.promote_types(features.dtype, torch.float32))
        shape = [1, -1] + [1] * (values.ndim - 2)
        mean, variance, count = statistics_of_all_ranks(values)
        self._track(mean, variance * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return ((values - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(features.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, unbiased_variance: torch.Tensor) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None  # None averages over all batches: no backbone of timm asks for it
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(unbiased_variance.to(self.running_var.dtype), self.momentum)


class SharedBatchNormAct(BatchNormAct2d):
    """The same for timm's layer, which joins the norm and what follows it."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(features)
        return self.act(self.drop(SharedBatchNorm.normalize(self, features)))

    _track = SharedBatchNorm._track
