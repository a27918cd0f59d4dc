"""Rows and scalars of all ranks, on every rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed, nn


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        context.counts, most = counts, max(counts)
        padded = rows.new_zeros((most, *rows.shape[1:]))  # an exchange of all with all takes equal parts
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        # Every rank computes the same loss from the same gathered rows, so the sum of the ranks' gradients, which a
        # reduce-scatter would fetch, is this rank's own times the number of ranks. DDP then divides by that number.
        begin = sum(context.counts[: distributed.get_rank()])
        mine = slice(begin, begin + context.counts[distributed.get_rank()])
        return gradient[mine] * len(context.counts), None


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Returns the rows (n, ...) of every rank below each other, in the order of the ranks, the same on all.

    counts: n of each rank. Differentiable on condition that every rank then computes the same scalar from the result.
    """
    assert len(rows) == counts[distributed.get_rank() if len(counts) > 1 else 0], "not as many rows as announced"
    return rows if len(counts) == 1 else _GatherRows.apply(rows, counts)


def number_of_ranks() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def gather_even(rows: torch.Tensor) -> torch.Tensor:
    """Returns `gather_rows` of ranks that have equally many rows."""
    return gather_rows(rows, [len(rows)] * number_of_ranks())


def roll_rows(rows: torch.Tensor, by: int) -> torch.Tensor:
    """Returns this rank's share of the rows of all ranks, each in the place `by` rows on; without a gradient.

    Ranks have equally many rows.
    """
    own, first = len(rows), distributed.get_rank() * len(rows) if number_of_ranks() > 1 else 0
    return gather_even(rows.detach()).roll(by, dims=0)[first : first + own]


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """Returns the mean over the ranks of a tensor of scalars. A NaN or infinity of any rank reaches all."""
    if number_of_ranks() > 1:
        distributed.all_reduce(values)
        values = values / number_of_ranks()
    return values


@torch.no_grad()
def keep_equal(module: nn.Module) -> None:
    """Gives all ranks the first one's weights and buffers, in place. Called by all ranks."""
    if number_of_ranks() > 1:
        for tensor in (*module.parameters(), *module.buffers()):
            distributed.broadcast(tensor.detach(), src=0)
