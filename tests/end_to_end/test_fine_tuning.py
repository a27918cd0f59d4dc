"""A training that starts from a finished run, by the real entry points."""

import shutil

import pandas as pd
import pytest
from accelerate.state import AcceleratorState

from pipeline import evaluate, prepare, train
from pipeline.build import build_index
from pipeline.config import load_config, to_yaml
from pipeline.datasets.manifest import read_splits, write_splits
from pipeline.run.training_data import TrainingData
from pipeline.synthetic.generation import generate
from tests.end_to_end.runs import refusal

SHORT = ["train.epochs=1", "train.steps_per_epoch=2", "train.checkpoint_steps=1"]


@pytest.fixture
def words(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, *SHORT, f"data.root={people}", f"output={tmp_path}"]


def test_a_run_goes_on_from_another_and_never_tests_its_people(words, tmp_path, capsys):
    train.main([*words, "name=base"])
    base = tmp_path / "base"
    splits = read_splits(base / "split.csv")
    trained = sorted(name for name, split in splits.items() if split == "train")
    exchanged = splits | {trained[0]: "test", next(name for name in splits if splits[name] == "test"): "train"}
    write_splits(exchanged, tmp_path / "other.csv")
    # refused before anything is trained
    other = [*words, f"model.weights={base}", "name=leak", f"data.split_file={tmp_path / 'other.csv'}"]
    assert f"the first is {trained[0]!r}" in refusal(train.main, other, capsys)
    assert not (tmp_path / "leak" / "config.yaml").exists()
    untrained = [*words, f"model.weights={base}", f"data.split_file={tmp_path / 'other.csv'}"]
    assert f"the first is {trained[0]!r}" in refusal(evaluate.main, untrained, capsys)
    # with the split of the run it is trained
    AcceleratorState._reset_state(reset_partial_state=True)
    train.main([*words, f"model.weights={base}", "name=new"])
    new = tmp_path / "new"
    rows = pd.read_csv(new / "results.csv")
    assert rows["weights"].str.match(r"run base [0-9a-f]{16}$").all()
    log = (new / "log.txt").read_text()
    left = "left: of the network none; of the run 1 (heads.global.classifier.weight: a classifier)"
    assert log.count("model.weights: run base: ") == log.count(left) == 1
    # and evaluated after the other's folder is gone, but not with its people
    shutil.rmtree(base)
    evaluate.main([str(new)])
    write_splits(exchanged | {name: "test" for name in trained[1:]}, new / "split.csv")  # as if it hadn't seen them
    error = refusal(evaluate.main, [new, f"data.split_file={tmp_path / 'other.csv'}"], capsys)
    assert f"the first is {trained[0]!r}" in error and "ancestors/1-base" in error


def write_run(folder, words, identities):
    """Writes what others need to start from a run, trained on these identities."""
    folder.mkdir()
    settings = load_config(words)
    (folder / "config.yaml").write_text(to_yaml(settings))
    TrainingData(settings.data.dataset, {}, {str(number): "aa" for number in identities}).save(folder)
    (folder / "model.safetensors").touch()


@pytest.mark.parametrize("layout", ["sysu", "regdb"])
def test_people_of_a_published_set_are_refused_before_the_training(layout, tiny, tmp_path, capsys):
    root = tmp_path / "set"
    generate(layout, root, identities=8, images_per_camera=2, seed=0, workers=1)
    tiny = [word for word in tiny if not word.startswith("data.")]
    words = [f"configs/{layout}.yaml", *tiny, *SHORT, f"data.root={root}", f"output={tmp_path}", "name=new"]
    index = build_index(load_config(words).data)
    tested = index["identity"][index["split"] == "test"]
    if layout == "regdb":
        write_run(tmp_path / "base", words, [])
        words.append("data.trial=2")
        message = "data.trial: the run was trained with 1; evaluating it with 2 would test identities"
    else:
        write_run(tmp_path / "base", words, [tested.iloc[0]])
        message = f"would test identities it was trained on, 1 of {tested.nunique()}"
    words.append(f"model.weights={tmp_path / 'base'}")
    assert message in refusal(train.main, words, capsys)
    assert not (tmp_path / "new" / "config.yaml").exists()
    assert message in refusal(evaluate.main, words, capsys)
    with pytest.raises(SystemExit):
        prepare.main(words)
    assert message in capsys.readouterr().out
