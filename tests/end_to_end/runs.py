"""Short trainings by the real entry point."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline import train

SHORT = ["train.epochs=2", "train.steps_per_epoch=6", "train.checkpoint_steps=2"]


def run(arguments, name, *more):
    train.main([*arguments, f"name={name}", *more])
    return Path(arguments[-1].split("=")[1]) / name


def weights(folder):
    return load_file(folder / "model.safetensors")


def refusal(main, arguments, capsys):
    """The one line with which a command refuses its arguments."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    return error
