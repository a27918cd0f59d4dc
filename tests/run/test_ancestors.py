"""What the runs before a run were trained on is not tested, also after their folders are gone."""

import shutil

import pandas as pd
import pytest

from pipeline.config import load_config, to_yaml
from pipeline.datasets.manifest import write_splits
from pipeline.run.ancestors import ancestors, check_ancestors, keep_ancestors, lineage
from pipeline.run.folder import ancestors_of, keep_data, open_run
from pipeline.run.training_data import TrainingData

SPLITS = {"ann": "train", "bob": "test", "cem": "train"}


@pytest.fixture
def make(tmp_path):
    """Makes the folder of a run `name` by overrides, trained on numbers or on names, with an empty network."""

    def made(name, *overrides, numbers=(), splits=None):
        settings = load_config([f"output={tmp_path}", f"name={name}", *overrides])
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(to_yaml(settings))
        keep_data(folder, splits, TrainingData(settings.data.dataset, {}, {str(number): "aa" for number in numbers}))
        keep_ancestors(folder, settings.model.weights)
        (folder / "model.safetensors").touch()
        return folder

    return made


def started(tmp_path, *overrides):
    return load_config([f"output={tmp_path}", "name=new", *overrides])


def index_of(dataset, tested):
    columns = {"identity": [*range(len(tested))] if dataset == "folder" else [*tested], "split": ["test"] * len(tested)}
    return pd.DataFrame(columns | ({"name": [*tested]} if dataset == "folder" else {}))


CASES = {
    "sysu, others": ("sysu", [], "sysu", [], [5, 6], None),
    "sysu, the same": (
        "sysu",
        [],
        "sysu",
        [],
        [5, 2],
        r"would test identities it was trained on, 1 of 2 .* is 2",
    ),
    "another data set": ("sysu", [], "llcm", [], [1, 2], None),
    "regdb, the same trial": ("regdb", ["data.trial=1"], "regdb", ["data.trial=1"], [5, 6], None),
    "regdb, another trial": (
        "regdb",
        ["data.trial=1"],
        "regdb",
        ["data.trial=2"],
        [5, 6],
        r"data\.trial: the run was trained with 1; evaluating it with 2",
    ),
    "own data, others": ("folder", [], "folder", [], ["bob", "eve"], None),
    "own data, the same": ("folder", [], "folder", [], ["bob", "cem"], "1 of 2; the first is 'cem'"),
    "a split that was trained on": (
        "sysu",
        ["data.train_splits=[train,val]"],
        "sysu",
        ["data.train_splits=[train]", "data.test_split=val"],
        [5],
        r"data\.test_split: val was trained on",
    ),
}


@pytest.mark.parametrize("generations", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_identities_of_an_ancestor_are_not_tested(case, generations, make, tmp_path):
    dataset, before, other, now, tested, message = CASES[case]
    splits = SPLITS if dataset == "folder" else None
    last = make("first", f"data.dataset={dataset}", *before, numbers=[1, 2, 3], splits=splits)
    if generations == 2:
        last = make("second", "data.dataset=llcm", f"model.weights={last}", numbers=[900])
        shutil.rmtree(tmp_path / "first")
    overrides = [f"data.dataset={other}", *now, f"model.weights={last}"]
    settings, index = started(tmp_path, *overrides), index_of(other, tested)
    kept = make("new", *overrides)
    shutil.rmtree(last)
    for runs in (ancestors_of(settings), ancestors(kept)):
        assert len(runs) == generations
        if message is None:
            check_ancestors(settings, runs, index)
            continue
        with pytest.raises(ValueError, match=rf"^model\.weights: the network started from the run .*{message}") as one:
            check_ancestors(settings, runs, index)
        assert "\n" not in str(one.value) and "first" in str(one.value)


def test_ancestors_are_kept_in_order(make):
    run = make("a-0")
    for name in ("b", "c-1", "a-0x"):
        run = make(name, f"model.weights={run}")
    assert [kept.name for kept in ancestors(run)] == ["1-c-1", "2-b", "3-a-0"]
    assert [kept.name for kept in lineage(str(run))] == ["a-0x", "1-c-1", "2-b", "3-a-0"]
    assert sorted(file.name for file in (run / "ancestors" / "2-b").iterdir()) == ["config.yaml", "training_data.json"]


def test_more_than_nine_ancestors_stay_in_order(make):
    run = make("0")
    for number in range(1, 12):
        run = make(str(number), f"model.weights={run}")
    assert [kept.name.partition("-")[2] for kept in ancestors(run)] == [str(number) for number in range(10, -1, -1)]


def test_before_anything_is_trained_the_ancestors_are_those_of_the_settings(make, tmp_path):
    first, second = make("first", splits=SPLITS), make("second")
    for weights, kept in ((first, ["1-first"]), (second, ["1-second"]), ("null", [])):
        settings = started(tmp_path, f"model.weights={weights}")
        assert [run.name for run in ancestors_of(settings)] == [name.partition("-")[2] for name in kept]
        assert [run.name for run in ancestors(open_run(settings))] == kept


def test_an_ancestor_of_an_older_version_is_known_by_its_settings(make, tmp_path):
    """Without training_data.json the settings that divide a data set are compared."""
    run = make("first", "data.dataset=regdb", "data.trial=1")
    (run / "training_data.json").unlink()
    (run / "config.yaml").write_text(to_yaml(load_config(["data.dataset=regdb"])) + "an_older_key: 1\n")
    settings = started(tmp_path, "data.dataset=regdb", "data.trial=2", f"model.weights={run}")
    with pytest.raises(ValueError, match=r"data\.trial: the run was trained with 1"):
        check_ancestors(settings, ancestors_of(settings), index_of("regdb", [1]))


def test_files_have_no_ancestors(tmp_path):
    (tmp_path / "weights.pth").touch()
    assert lineage(None) == lineage(str(tmp_path / "weights.pth")) == []


@pytest.mark.parametrize("place", ["absent", "."])
def test_what_is_no_weights_is_named_by_its_key(place, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=r"^model\.weights: "):
        lineage(str(tmp_path / place))


def test_split_files_are_copied_whole(make):
    run = make("first", "data.dataset=folder", splits=SPLITS)
    new = make("new", f"model.weights={run}")
    write_splits({"other": "train"}, run / "split.csv")
    (kept,) = ancestors(new)
    assert "ann,train" in (kept / "split.csv").read_text()
