"""What every data set's object holds, and a data set of one's own: one object, and everything works with it."""

import ast
import dataclasses
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline import evaluate, prepare
from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.datasets import DATASETS, dataset_of
from pipeline.datasets.columns import Layout, columns
from pipeline.datasets.dataset import DataSet, Published
from pipeline.datasets.listing import Record, build_index, list_images, resolve_root
from pipeline.evaluation.results import METRICS, read_rows, summarize
from pipeline.evaluation.results.schema import KEYS
from pipeline.literature import read_literature
from pipeline.protocols.all_against_all import all_against_all
from pipeline.settings import DataSettings
from pipeline.tables.layouts import LAYOUTS, select
from pipeline.tables.lines import lines_of
from tests.evaluation.result_rows import sysu

PIPELINE = Path(__file__).parents[2] / "pipeline"

# ---------------------------------------------------------------- every object


@pytest.mark.parametrize("name", DATASETS)
def test_an_object_names_what_there_is(name):
    dataset = dataset_of(name)
    assert dataset.name == name and dataset.title
    assert set(dataset.split_keys) <= {field.name for field in dataclasses.fields(DataSettings)}
    assert set(dataset.usual) <= set(KEYS)
    for layout in dataset.tables.values():
        assert layout.across in KEYS
        for column in layout.columns:
            assert set(column.where) <= set(KEYS) and column.where["dataset"] == name and column.metric in METRICS


def test_every_table_has_a_name_of_its_own_and_the_literature_its_columns():
    assert len(LAYOUTS) == sum(len(dataset.tables) for dataset in DATASETS.values()) + 2
    for layout in LAYOUTS.values():
        if layout.literature:
            assert {column.literature for column in layout.columns} <= set(read_literature(layout.literature))


def test_the_splitting_is_that_of_the_split_keys_and_a_split_file_counts_by_its_content(tmp_path):
    for name, text in (("a.csv", "identity,split\n1,test\n"), ("b.csv", "identity,split\n1,test\n"), ("c.csv", "x\n")):
        (tmp_path / name).write_text(text)
    a, b, c = (dataset_of("folder").splitting(DataSettings(split_file=str(tmp_path / f"{n}.csv"))) for n in "abc")
    assert a == b != c and set(a) == {"test_fraction", "split_seed", "split_file"}
    assert dataset_of("regdb").splitting(DataSettings(trial=4)) == {"trial": 4}
    assert dataset_of("sysu").splitting(DataSettings(trial=4)) == {}


# ---------------------------------------------------------------- one of one's own

NAME = re.compile(r"(\d+)_(\d+)_(visible|infrared)_\d+\.jpg")


def read_flat(root, data):
    """`<identity>_<camera>_<modality>_<n>.jpg` in one folder; every third identity, by the trial, is tested."""
    root = resolve_root(root, "a flat folder")
    found = [(name, NAME.fullmatch(name)) for name in list_images(root)]
    return build_index(
        [
            Record(
                os.path.join(root, name),
                int(match[1]),
                int(match[2]),
                int(Modality.from_name(match[3])),
                "test" if int(match[1]) % 3 == data.trial % 3 else "train",
            )
            for name, match in found
            if match
        ],
        root,
    )


FLAT = DataSet(
    name="flat",
    title="flat folders",
    read_folder=read_flat,
    trials=lambda index, data, evaluation: all_against_all(
        index, evaluation.directions, data.test_split, trial=data.trial
    ),
    split_keys=("trial",),
    published=Published(total=7, galleries={"all": 12}),
    trial_numbers={"all": range(1, 4)},
    trials_are_trainings=True,
    usual={"metric": "euclidean"},
    tables={"flat": Layout("Flat", columns("", "", (1,), dataset="flat"), across="mode")},
    protocol_files=lambda root: [root / "protocol.txt"],
)


@pytest.fixture
def flat(people, tmp_path, monkeypatch):
    """The root of a flat data set, which is known."""
    monkeypatch.setitem(DATASETS, "flat", FLAT)
    root = tmp_path / "set"
    root.mkdir()
    for modality in ("visible", "infrared"):
        for number, image in enumerate(sorted((people / modality).rglob("*.jpg"))):
            identity = int(re.sub(r"\D", "", image.parent.name))
            shutil.copy(image, root / f"{identity}_{1 + (modality == 'infrared')}_{modality}_{number}.jpg")
    (root / "protocol.txt").write_text("rules\n")
    return root


@pytest.mark.dali
def test_a_new_data_set_is_read_packed_evaluated_and_averaged(flat, tmp_path, capsys):
    small = ["evaluation.extractor=pixels", f"output={tmp_path}", "loader.threads=1"]
    for trial in (1, 2):
        words = ["configs/demo.yaml", "data.dataset=flat", f"data.trial={trial}"]
        with pytest.raises(SystemExit) as ended:
            prepare.main(
                ["--dataset", "flat", "--root", str(flat), f"data.trial={trial}", "--pack", f"{tmp_path}/{trial}"]
            )
        assert ended.value.code == 0 and (tmp_path / str(trial) / "protocol.txt").read_text() == "rules\n"
        assert "all splits: expected 7 images" in capsys.readouterr().out
        evaluate.main([*words, f"data.root={tmp_path}/{trial}", *small])
    with pytest.raises(ValueError, match=r"was packed with data\.trial=2; found data\.trial=1"):
        dataset_of("flat").read_index(DataSettings(root=f"{tmp_path}/2", trial=1))
    rows = pd.concat([read_rows(tmp_path / f"demo-trial{trial}" / "results.csv") for trial in (1, 2)])
    assert rows["test_set"].nunique() == 2
    means = summarize(rows)
    assert means["run"].tolist() == ["demo"] * 2 and means["trials"].tolist() == [2, 2]
    assert means["missing"].tolist() == ["3", "3"] and means["expected"].tolist() == [3, 3]


def test_the_nearest_data_set_is_named_wherever_one_is_asked_for(flat):
    with pytest.raises(ValueError, match=r"data\.dataset: expected one of .*, flat; found 'flet'; the nearest is flat"):
        load_config(["data.dataset=flet"])


def test_its_usual_options_and_its_published_gallery_count_in_tables(flat):
    facts = {"dataset": "flat", "gallery_rule": "all", "metric": "euclidean", "test_set": "aa"}
    rows = [sysu("a", n, gallery=12, **facts) for n in (1, 2)]
    rows += [sysu("b", n, gallery=9, recipe="b", **facts | {"metric": "cosine"}) for n in (1, 2)]
    means = summarize(pd.DataFrame(rows))
    lines = lines_of(select(means, FLAT.tables["flat"].columns), "mode")
    assert [(line.name, line.published) for line in lines] == [("a", True), ("b (metric=cosine)", False)]


# ---------------------------------------------------------------- all other code

BY_NAME = ("settings", "literature", "datasets", "synthetic")


def test_no_other_code_knows_a_data_set_by_name():
    names = set(DATASETS) - {"folder"}  # also an everyday word
    for file in sorted(PIPELINE.rglob("*.py")):
        if file.relative_to(PIPELINE).parts[0] in BY_NAME:
            continue
        constants = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        found = [f"line {node.lineno}: {node.value}" for node in constants if node.value in names]
        assert not found, f"{file}: {found}"
