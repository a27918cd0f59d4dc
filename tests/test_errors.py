import pytest

from pipeline.errors import SHOW_TRACEBACK, one_line_errors


def failing(error):
    def main(argv=None):
        raise error

    return one_line_errors(main)


@pytest.mark.parametrize("error", [ValueError("seed: bad"), FileNotFoundError("x: gone"), FloatingPointError("loss")])
def test_a_users_mistake_is_one_line(error, capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        failing(error)()
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines() == [f"error: {error} ({SHOW_TRACEBACK}=1 shows where)"] and not printed.out
    monkeypatch.setenv(SHOW_TRACEBACK, "1")
    with pytest.raises(type(error)):
        failing(error)()


def test_ctrl_c_ends_as_shells_expect_and_our_own_mistakes_keep_their_traceback(capsys):
    with pytest.raises(SystemExit) as ended:
        failing(KeyboardInterrupt())()
    assert ended.value.code == 130 and capsys.readouterr().err == "interrupted\n"
    with pytest.raises(AssertionError):
        failing(AssertionError("ours"))()


def test_a_broken_pipe_that_is_not_the_output_is_a_mistake_like_others(capfd):
    with pytest.raises(SystemExit) as ended:
        failing(BrokenPipeError("a socket"))()
    assert ended.value.code == 2 and capfd.readouterr().err.startswith("error: a socket")
