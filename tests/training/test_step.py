from types import SimpleNamespace

import pytest
import torch

from pipeline.build import build_index, build_table
from pipeline.config import load_config
from pipeline.distributed import create_accelerator
from pipeline.training.prepare import prepare_training
from pipeline.training.step import QueuedStep, read_later, set_training_mode, train_step
from pipeline.training.trainer import Interval, read_steps
from pipeline.training.watch import STEPS, DiscriminatorWatch


def queued(number, loss, replaced=0.0, stop=0.0, norm=1.0):
    return QueuedStep(number, ["loss", "gradient_norm"], lambda: [loss, norm, replaced, stop], images=8, waiting=0.25)


@pytest.fixture()
def training(tmp_path):
    accelerator, counted = SimpleNamespace(num_processes=2, scaler=None), SimpleNamespace(count=0)
    watch = DiscriminatorWatch({"loss": 1.0})
    settings = SimpleNamespace(method=None)
    return SimpleNamespace(accelerator=accelerator, folder=tmp_path, replaced=counted, watch=watch, settings=settings)


def test_the_newest_step_stays_in_the_queue_until_all_are_wanted(training):
    steps, sums = [queued(1, 3.0, replaced=0.5), queued(2, 1.0)], Interval()
    assert not read_steps(training, steps, [sums], newest_too=False)
    assert [step.number for step in steps] == [2]
    assert training.replaced.count == 1  # a mean of two ranks
    assert not read_steps(training, steps, [sums], newest_too=True)
    assert steps == [] and sums.images == 16 and sums.waiting == 0.5
    assert sums.means()["loss"] == 2.0


def test_a_stop_request_of_any_step_that_is_read_counts(training):
    steps = [queued(1, 1.0, stop=0.5), queued(2, 1.0)]
    assert read_steps(training, steps, [], newest_too=True)


def test_a_discriminator_that_wins_is_warned_of_once_in_a_row(training, caplog):
    for number in range(2 * STEPS):
        read_steps(training, [queued(number + 1, 0.079)], [], newest_too=True)
    assert [record.getMessage()[: len(f"step {STEPS}: loss")] for record in caplog.records] == [f"step {STEPS}: loss"]
    read_steps(training, [queued(2 * STEPS + 1, 0.081)], [], newest_too=True)
    for number in range(STEPS - 1):
        read_steps(training, [queued(number, 0.01)], [], newest_too=True)
    assert len(caplog.records) == 1
    read_steps(training, [queued(3 * STEPS, 0.01)], [], newest_too=True)
    assert len(caplog.records) == 2


def test_a_loss_that_is_not_finite_names_its_step(training):
    with pytest.raises(FloatingPointError, match=r"the loss of step 7 is not finite \(loss nan, gradient_norm 1\)"):
        read_steps(training, [queued(7, float("nan"))], [], newest_too=True)


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_is_a_failure_whatever_the_loss_says(training, norm):
    with pytest.raises(FloatingPointError, match=r"the gradient of step 7 is not finite \(gradient_norm"):
        read_steps(training, [queued(7, 2.0, norm=norm)], [], newest_too=True)


def test_a_step_that_the_scaler_of_fp16_leaves_out_is_none(training):
    training.accelerator.scaler, sums = object(), Interval()
    read_steps(training, [queued(1, 2.0, norm=float("nan")), queued(2, 4.0, norm=3.0)], [sums], newest_too=True)
    assert sums.means()["loss"] == 3.0 and sums.means()["gradient_norm"] == 3.0
    skipped = Interval()
    read_steps(training, [queued(3, 2.0, norm=float("nan"))], [skipped], newest_too=True)
    assert skipped.means()["gradient_norm"] == float("inf")  # a number, which a row of metrics.csv is kept by
    with pytest.raises(FloatingPointError, match="the loss of step 4"):
        read_steps(training, [queued(4, float("nan"))], [], newest_too=True)


def test_values_are_read_as_numbers():
    values = torch.tensor([1.5, 2.0])
    assert read_later(values)() == [1.5, 2.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("more", [[], ["train.precision=bf16"], ["optimizer.clip_grad_norm=1.0"]])
def test_a_step_does_not_wait_for_the_gpu(people, tiny, tmp_path, more):
    settings = load_config([*tiny, *more, f"data.root={people}", f"output={tmp_path}", "name=run"])
    accelerator = create_accelerator(settings, str(tmp_path))
    index = build_index(settings.data)
    training = prepare_training(settings, accelerator, index, build_table(settings, index))
    set_training_mode(training)
    for _ in range(3):
        train_step(training)
    try:
        torch.cuda.set_sync_debug_mode("error")
        unread = [train_step(training) for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(len(step.values()) == len(step.names) + 2 for step in unread)
    training.batches.close()
