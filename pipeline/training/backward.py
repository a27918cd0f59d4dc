"""A step of a method of one loss: forward and backward passes of its batches, then one step of all its optimizers."""

from __future__ import annotations

import contextlib
import dataclasses

import torch

from pipeline.batch import Batch
from pipeline.losses.term import Parts
from pipeline.methods.method import TRAIN, Method
from pipeline.models.norm import statistics_kept
from pipeline.training.freezing import drop_gradients
from pipeline.training.state import Training
from pipeline.training.taking import StepBatches


def collect_gradients(training: Training, taken: StepBatches) -> Parts:
    """Returns the metrics of a step, detached, with the gradients of its batches in place and clipped."""
    accelerator, sums = training.accelerator, dict[str, torch.Tensor]()
    # Gradients of `accumulate` batches add up; ranks exchange them with the last.
    accumulate = training.settings.train.grad_accum_steps
    for number in range(accumulate):
        batch = taken.next(TRAIN, training.step * accumulate + number)
        last = number == accumulate - 1
        with contextlib.nullcontext() if last else accelerator.no_sync(training.method):
            parts = loss_of(training, batch)
            with backward_context(training):
                accelerator.backward(parts["loss"] / accumulate)
        del batch  # its memory is free for the next one
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + value.detach() / accumulate
    if training.first_step is None:
        check_gradients(training.bare_method)
    if training.step < training.frozen_steps:
        drop_gradients(training.bare_method.pretrained_parameters())
    drop_gradients(training.bare_method.held_still(training.step, training.steps_per_epoch))
    return sums | {"gradient_norm": gradient_norm(training)}


def move(training: Training) -> None:
    for player in training.players:
        player.optimizer.step()
        player.optimizer.zero_grad(set_to_none=True)


def backward_context(training: Training) -> contextlib.AbstractContextManager[None]:
    """Returns the context of a backward pass: one that runs layers again must not count a batch twice."""
    again = training.settings.model.grad_checkpointing
    return statistics_kept(training.bare_method) if again else contextlib.nullcontext()


def check_gradients(method: Method) -> None:
    """Raises ValueError naming a parameter without a gradient: ranks would wait for it, and weight decay shrink it."""
    missing = [
        name for name, parameter in method.named_parameters() if parameter.requires_grad and parameter.grad is None
    ]
    if missing:
        others = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ValueError(
            f"method: {missing[0]} got no gradient in the first step{others}; every trained parameter needs one in "
            "each step: use it in a loss, or set its requires_grad to False"
        )


def gradient_norm(training: Training) -> torch.Tensor:
    """Returns the Euclidean norm of the gradient, a scalar on the device, and clips it as `optimizer` says."""
    parameters = [parameter for parameter in training.method.parameters() if parameter.grad is not None]
    training.accelerator.unscale_gradients([player.optimizer for player in training.players])
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if training.settings.optimizer.clip_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, training.settings.optimizer.clip_grad_norm, norm)
    return norm.detach()


def loss_of(training: Training, batch: Batch) -> Parts:
    if training.settings.train.channels_last:
        batch = dataclasses.replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
    return training.method(batch)
