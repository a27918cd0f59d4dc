from types import SimpleNamespace

import pytest

from pipeline.training.trainer import Due
from pipeline.training.validation import BestSoFar, Validation


def after(step, *, steps=40, steps_per_epoch=10, checkpoint_steps=None, log_steps=50, validation=None):
    settings = SimpleNamespace(train=SimpleNamespace(log_steps=log_steps, checkpoint_steps=checkpoint_steps))
    place = {"step": step, "steps": steps, "steps_per_epoch": steps_per_epoch}
    return Due.after(SimpleNamespace(settings=settings, validation=validation, **place))


def every(steps, patience=None):
    return Validation(validator=None, steps=steps, metric="mAP", patience=patience)


def test_a_validation_brings_a_row_and_a_checkpoint_of_its_step():
    found = {step: after(step, checkpoint_steps=15, validation=every(20)) for step in range(1, 41)}
    assert [step for step, due in found.items() if due.validation] == [20, 40]
    assert [step for step, due in found.items() if due.row] == [20, 40]
    assert [step for step, due in found.items() if due.checkpoint] == [15, 20, 30, 40]
    assert [step for step, due in found.items() if due.epoch] == [10, 20, 30, 40]


def test_the_last_step_is_validated_whenever_it_comes():
    found = [step for step in range(1, 41) if after(step, validation=every(30)).validation]
    assert found == [30, 40]


def test_without_validations_nothing_is_due_that_was_not():
    found = {step: after(step, log_steps=4) for step in range(1, 41)}
    assert not any(due.validation for due in found.values())
    assert [step for step, due in found.items() if due.row] == list(range(4, 41, 4))
    assert [step for step, due in found.items() if due.checkpoint] == [10, 20, 30, 40]


def test_the_first_of_equal_validations_is_the_best_and_patience_counts_those_since():
    validation = every(10, patience=2)
    ends = []
    for step, value in ((10, 3.0), (20, 5.0), (30, 5.0), (40, 6.0), (50, 5.9), (60, 6.0)):
        validation.best.add(value, step)
        ends.append(validation.ends_training)
    assert (validation.best.value, validation.best.step, validation.best.since) == (6.0, 40, 2)
    assert ends == [False, False, False, False, False, True]
    assert not every(10).ends_training


def test_a_checkpoint_keeps_what_is_known_of_the_best():
    best, again = BestSoFar(), BestSoFar()
    again.load_state_dict(best.state_dict())
    assert again == best
    best.add(41.25, 320)
    best.add(40.0, 640)
    again.load_state_dict(best.state_dict())
    assert again == best == BestSoFar(41.25, 320, 1)


@pytest.mark.parametrize(("since", "end"), [(0, ""), (2, "; the last 2 were no better: the training ends")])
def test_the_line_of_the_log(since, end):
    validation = every(10, patience=2)
    validation.best = BestSoFar(33.0, 240, since)
    line = validation.line(320, {"mAP": 31.24, "rank_1": 28.36, "mINP": 20.0})
    assert line == f"validation at step 320: mAP 31.2 rank-1 28.4 mINP 20.0 (best mAP 33.0 at step 240){end}"
