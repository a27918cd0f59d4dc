import os
import signal

import pytest

from pipeline.training.stopping import SIGNALS, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_a_mark_and_afterwards_acts_as_before(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        stop.saves = True
        assert not stop.asked()
        os.kill(os.getpid(), number)
        assert stop.signalled and stop.asked() and stop.interrupted == (number == signal.SIGINT)
    assert signal.getsignal(number) == before


def test_ctrl_c_ends_at_once_what_would_save_nothing():
    with StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert not stop.signalled


def test_a_second_ctrl_c_does_not_wait_for_the_checkpoint():
    with StopRequest() as stop:
        stop.saves = True
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_file_asks_and_is_made_where_a_signal_did(monkeypatch, tmp_path):
    stop = StopRequest()
    stop.confirm()
    monkeypatch.setenv("STOP_FILE", str(tmp_path / "stop"))
    assert not stop.asked()
    stop.confirm()
    assert (tmp_path / "stop").exists() and stop.asked() and not stop.signalled
