"""The optimizers of a method: one that minimizes all, or players whose losses reach chosen parameters only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import distributed, nn

from pipeline.gathering import number_of_ranks
from pipeline.optimization import learning_rate_factor
from pipeline.settings import Settings


@dataclass(frozen=True)
class Player:
    """An optimizer and its schedule: epoch, with its fraction -> factor of the initial learning rates."""

    name: str
    optimizer: torch.optim.Optimizer
    schedule: Callable[[float], float]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


class Players:
    """The players of a method, in the order in which checkpoints keep them.

    A game (`pipeline.methods.game`) moves them by `descend`, or by `collect` and `step` where a player's gradients are
    of several losses. It needs no DistributedDataParallel, which allows one backward pass a step: a player's gradients
    are averaged over the ranks when it steps, so that all ranks stay equal.

    clip       largest norm of a player's gradient; None: no clipping
    """

    def __init__(self, players: Sequence[Player], clip: float | None = None) -> None:
        self.by_name = {player.name: player for player in players}
        self.clip = clip
        self.begin()

    def __iter__(self) -> Iterator[Player]:
        return iter(self.by_name.values())

    def __len__(self) -> int:
        return len(self.by_name)

    def begin(self) -> None:
        """Begins a step of the training: nothing is collected yet."""
        self._collected: list[torch.Tensor] = []
        self._norms: list[torch.Tensor] = []
        self._waiting: set[str] = set()
        self._moved: set[str] = set()

    @property
    def leading(self) -> Player:
        """The first of the players that moved in the last step, or of all."""
        moved = [player for player in self if player.name in self._moved]
        return next(iter(moved or self))

    @property
    def loss(self) -> torch.Tensor:
        """The sum of the losses of all players in this step, a scalar."""
        return torch.stack(self._collected).sum()

    @property
    def gradient_norm(self) -> torch.Tensor:
        """The Euclidean norm of the gradients that this step's moves used, before clipping, a scalar."""
        return torch.linalg.vector_norm(torch.stack(self._norms))

    def descend(self, loss: torch.Tensor, *names: str, retain: bool = False) -> None:
        """Moves players down the gradient of a scalar. retain: another loss needs the same graph."""
        self.collect(loss, *names, retain=retain)
        self.step(*names)

    def collect(self, loss: torch.Tensor, *names: str, retain: bool = False) -> None:
        """Adds the gradient of a scalar with respect to the players' parameters to what they have collected.

        It reaches no other parameter, whatever the graph holds. retain: another loss needs the same graph.
        """
        reached = [one for name in names for one in self.by_name[name].parameters if one.requires_grad]
        with torch.autocast(loss.device.type, enabled=False):  # each product backward as it was made forward
            loss.backward(inputs=reached, retain_graph=retain)
        self._collected.append(loss.detach().float())
        self._waiting.update(names)

    def step(self, *names: str) -> None:
        """Moves players by what they have collected, the mean over the ranks. Called by all ranks."""
        for name in names:
            player = self.by_name[name]
            # A network that isn't in use in this stage has no gradient; zeros would let weight decay shrink it.
            moved = [one for one in player.parameters if one.grad is not None]
            gradients = [one.grad for one in moved if one.grad is not None]
            average(gradients)
            norm = torch.nn.utils.get_total_norm(gradients)
            self._norms.append(norm.float())
            if self.clip is not None:
                torch.nn.utils.clip_grads_with_norm_(moved, self.clip, norm)
            player.optimizer.step()
            player.optimizer.zero_grad(set_to_none=True)
            self._waiting.discard(name)
            self._moved.add(name)
        # Autocast keeps its copies of weights to its end; the step may go on with those that have moved.
        torch.clear_autocast_cache()

    def end(self) -> None:
        """Ends a step of the training. Raises AssertionError for gradients that moved nobody: the next step has none of
        them."""
        assert not self._waiting, f"{', '.join(sorted(self._waiting))} collected gradients and didn't step"


@torch.no_grad()
def average(gradients: Sequence[torch.Tensor]) -> None:
    """Gives each rank the mean over the ranks, in place, in one exchange. All ranks must have the same tensors."""
    if not gradients or number_of_ranks() == 1:
        return
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(joined)
    joined /= number_of_ranks()
    for gradient, mean in zip(gradients, joined.split([one.numel() for one in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def schedule_of(settings: Settings) -> Callable[[float], float]:
    """Returns the schedule of `optimizer`: epoch -> factor of the initial learning rates."""
    return partial(learning_rate_factor, epochs=settings.train.epochs, settings=settings.optimizer)
