"""A user's own data, from training to evaluation, while people are added to it."""

import shutil

import pandas as pd
import pytest
from safetensors.torch import load_file

from pipeline import evaluate, train
from pipeline.config import load_config, to_yaml
from pipeline.datasets.manifest import read_splits, write_splits
from pipeline.protocols import DIRECTIONS

NAMES = ["Zoë Ø", "c1_cam", "7", "王芳", "Ann Lee"]
SHORT = ["train.epochs=1", "train.steps_per_epoch=2", "train.checkpoint_steps=1", "name=run"]
MODALITIES = ("visible", "infrared")


@pytest.fixture(scope="module")
def finished(people, tiny, tmp_path_factory, hidden_gpus):
    """A data set in a folder with "cam", blanks and letters that aren't ASCII, names like that, and a run on it."""
    folder = tmp_path_factory.mktemp("own")
    root = shutil.copytree(people, folder / "cam2 Größe, 王")
    originals = sorted(path.name for path in (root / "visible").iterdir())
    for modality in MODALITIES:
        for original, name in zip(originals, NAMES, strict=False):
            (root / modality / original).rename(root / modality / name)
    with hidden_gpus():
        train.main(["configs/folder.yaml", *tiny, *SHORT, f"data.root={root}", f"output={folder}"])
    return folder


@pytest.fixture()
def root(finished, tmp_path):
    """A copy of the data set."""
    return shutil.copytree(finished / "cam2 Größe, 王", tmp_path / "cam2 Größe, 王")


@pytest.fixture()
def run(finished, root, tmp_path):
    """A copy of the run, as if it had been trained on `root`."""
    folder = shutil.copytree(finished / "run", tmp_path / "run")
    settings = load_config([str(folder / "config.yaml"), f"data.root={root}"])
    (folder / "config.yaml").write_text(to_yaml(settings))
    return folder


@pytest.fixture()
def arguments(root, tiny, tmp_path):
    """Of a training on `root`."""
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={root}", f"output={tmp_path}"]


def add_people(root):
    """Enough that the draw tests some of those trained on before."""
    for modality in MODALITIES:
        for number, name in enumerate(sorted(path.name for path in (root / modality).iterdir())[:6]):
            shutil.copytree(root / modality / name, root / modality / f"added {number}")


def refusal(main, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_names_and_roots_of_any_letters_are_trained_on_and_tested(finished):
    splits = read_splits(finished / "run" / "split.csv")
    assert set(NAMES) < set(splits) and list(splits.values()).count("test") == 6
    results = pd.read_csv(finished / "run" / "results.csv")
    assert results["direction"].tolist() == list(DIRECTIONS) and (results["queries"] == 48).all()
    assert len(pd.read_csv(finished / "run" / "metrics.csv")) == 2


def test_a_run_and_its_evaluation_keep_to_their_people(root, run, arguments, capsys):
    splits = read_splits(run / "split.csv")
    add_people(root)
    remedy = f"data.split_file={run / 'split.csv'}"
    message = refusal(train.main, arguments, capsys)
    assert "trains on the identities of its split.csv" in message and remedy in message
    message = refusal(evaluate.main, [run], capsys)
    assert "would test identities it was trained on" in message and remedy in message
    named = message.split("the first is '")[1].split("'")[0]
    assert splits[named] == "train"
    before = pd.read_csv(run / "results.csv")
    with pytest.warns(UserWarning, match="6 identities are not in .*split.csv"):
        evaluate.main([str(run), remedy])
    rows = pd.read_csv(run / "results.csv")
    pd.testing.assert_frame_equal(rows, before)  # evaluated again, the rows replace the earlier ones
    capsys.readouterr()
    with pytest.warns(UserWarning, match="6 identities are not in .*split.csv"):
        train.main([*arguments, remedy])
    assert "is finished" in capsys.readouterr().out


def test_new_people_may_be_tested_when_some_of_the_old_are_gone(root, run, tmp_path):
    trained = [name for name, split in read_splits(run / "split.csv").items() if split == "train"]
    add_people(root)
    for modality in MODALITIES:
        shutil.rmtree(root / modality / trained[0])
    write_splits({"added 1": "test", "added 2": "test"}, tmp_path / "new.csv")
    with pytest.warns(UserWarning, match="are not in"):
        evaluate.main([str(run), f"data.split_file={tmp_path / 'new.csv'}"])
    assert pd.read_csv(run / "results.csv")["queries"].tolist() == [48, 48, 16, 16]


def test_an_old_run_without_names_is_evaluated_by_its_settings(root, run, capsys):
    shutil.move(run / "split.csv", root / "other.csv")
    for setting in ("test_fraction=0.4", "split_seed=1", f"split_file={root / 'other.csv'}"):
        message = refusal(evaluate.main, [run, f"data.{setting}"], capsys)
        assert f"data.{setting.split('=')[0]}: the run was trained with" in message


def test_the_split_of_a_run_gives_the_same_training(root, run, arguments, tmp_path, assert_equal):
    add_people(root)
    with pytest.warns(UserWarning, match="are not in"):
        train.main([*arguments, "name=again", f"data.split_file={run / 'split.csv'}"])
    assert (tmp_path / "again" / "split.csv").read_bytes() == (run / "split.csv").read_bytes()
    before, after = (load_file(folder / "model.safetensors") for folder in (run, tmp_path / "again"))
    assert_equal(before, after)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_damaged_weights_are_one_line(run, content, capsys):
    (run / "model.safetensors").write_bytes(content)
    assert "not the weights of a trained network" in refusal(evaluate.main, [run], capsys)
