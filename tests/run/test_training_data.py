"""What a run is trained on: the same wherever it lies, and never silently another."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from pipeline import prepare
from pipeline.build import build_index, build_table
from pipeline.config import load_config
from pipeline.run.trained_identities import check_no_leak
from pipeline.run.training_data import (
    TrainingData,
    check_same_data,
    read_training_data,
    training_data,
    training_data_path,
)
from pipeline.synthetic.generation import generate

BATCH = ["batch.ids_per_batch=2"]


def data_of(*arguments):
    settings = load_config([*arguments, *BATCH])
    index = build_index(settings.data)
    return training_data(index, build_table(settings, index), settings.data)


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    """The layout of SYSU-MM01 with a few people."""
    root = tmp_path_factory.mktemp("cameras") / "set"
    generate("sysu", root, identities=10, images_per_camera=2, seed=0, workers=1)
    return root


@pytest.mark.parametrize("layout", ["folder", "sysu"])
def test_it_is_the_same_for_a_folder_its_packs_and_a_copy_elsewhere(layout, people, cameras, tmp_path):
    root = people if layout == "folder" else cameras
    expected = data_of(f"data.dataset={layout}", f"data.root={root}")
    (tmp_path / "copy").symlink_to(root)
    with pytest.raises(SystemExit):
        prepare.main(["--dataset", layout, "--root", str(root), "--pack", str(tmp_path / "packs")])
    for place in ("copy", "packs"):
        assert data_of(f"data.dataset={layout}", f"data.root={tmp_path / place}") == expected


def test_it_lists_the_identities_by_label_and_counts_the_images(people, cameras):
    settings = load_config(["data.dataset=sysu", f"data.root={cameras}", *BATCH])
    index = build_index(settings.data)
    trained = index[index["split"].isin(["train", "val"])]
    found = data_of("data.dataset=sysu", f"data.root={cameras}")
    assert list(found.identities) == [str(number) for number in sorted(trained["identity"].unique())]
    assert found.images == {
        name: int((trained["modality"] == number).sum()) for number, name in enumerate(("visible", "infrared"))
    }
    named = data_of("data.dataset=folder", f"data.root={people}")
    index = build_index(load_config(["data.dataset=folder", f"data.root={people}"]).data)
    assert set(named.identities) == set(index["name"][index["split"] == "train"])


def changed(index, how):
    index, row = index.copy(), index.index[index["split"] == "train"][0]
    if how == "path":
        index.loc[row, "path"] += ".jpg"
    elif how == "camera":
        index.loc[row, "camera"] += 1
    elif how == "people":  # whoever had the first label has the last one
        index["identity"] = index["identity"].mask(index["identity"] == index["identity"][row], 10**6)
    elif how == "tested":
        index["path"] = index["path"].mask(index["split"] == "test", "elsewhere")
    return index


@pytest.mark.parametrize("how", ["path", "camera", "people", "tested"])
def test_every_change_of_what_is_trained_on_changes_it_and_no_other(cameras, how):
    settings = load_config(["data.dataset=sysu", f"data.root={cameras}", *BATCH])
    index = build_index(settings.data)
    first, other = (
        training_data(one, build_table(settings, one), settings.data) for one in (index, changed(index, how))
    )
    assert (first.digest == other.digest) == (how == "tested")


BEFORE = TrainingData("sysu", {"visible": 5, "infrared": 3}, {"1": "aa", "2": "bb", "10": "cc"})
OTHERS = {
    "gone": ({"1": "aa", "10": "cc"}, r"identity 2 is not there any more \(1 differ\)"),
    "there": (BEFORE.identities | {"4": "dd", "5": "ee"}, r"identity 4 is among them, and was not \(2 differ\)"),
    "exchanged": ({"1": "aa", "3": "bb", "10": "cc"}, r"identity 2 is not there any more \(2 differ\)"),
    "in another order": ({"2": "bb", "1": "aa", "10": "cc"}, "the same identities in another order"),
    "of other images": (BEFORE.identities | {"10": "dd"}, r"identity 10 has other images \(1 of 3 do\)"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_differs_is_said_in_one_line(case, tmp_path):
    identities, message = OTHERS[case]
    BEFORE.save(tmp_path)
    assert read_training_data(tmp_path) == BEFORE
    check_same_data(BEFORE, tmp_path, "data/x")
    with pytest.raises(ValueError, match=message) as refused:
        check_same_data(replace(BEFORE, identities=identities), tmp_path, "data/x")
    assert "data/x" in str(refused.value) and str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


def test_images_more_or_less_are_counted(tmp_path):
    BEFORE.save(tmp_path)
    now = TrainingData("sysu", {"visible": 4, "infrared": 3}, BEFORE.identities | {"1": "ff"})
    with pytest.raises(ValueError, match=r"\(then 5 visible and 3 infrared, now 4 visible and 3 infrared\)"):
        check_same_data(now, tmp_path, "data/x")


@pytest.mark.parametrize("content", ["{cut off", "[]", '{"digest": "a"}', '{"dataset": "a", "images": 3}'])
def test_a_damaged_record_is_one_line(tmp_path, content):
    training_data_path(tmp_path).write_text(content)
    with pytest.raises(ValueError, match="expected what a training writes") as refused:
        read_training_data(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_run_without_the_record_is_not_compared(tmp_path):
    assert read_training_data(tmp_path) is None
    check_same_data(BEFORE, tmp_path, "data/x")


# ---------------------------------------------------------------- no identity trained on is tested


@pytest.mark.parametrize(("dataset", "tested", "refused"), [("sysu", 7, False), ("sysu", 2, True), ("llcm", 2, False)])
def test_a_number_trained_on_is_not_tested_in_the_same_data_set(tmp_path, dataset, tested, refused):
    index = pd.DataFrame({"identity": [tested, 8, 1], "split": ["test", "test", "train"]})
    kept, settings = load_config(["data.dataset=sysu"]), load_config([f"data.dataset={dataset}", "data.root=/other"])
    check_no_leak(settings, kept, tmp_path, index)  # an older run, without the record
    BEFORE.save(tmp_path)
    if not refused:
        check_no_leak(settings, kept, tmp_path, index)
        return
    with pytest.raises(ValueError, match="/other: would test identities it was trained on, 1 of 2") as error:
        check_no_leak(settings, kept, tmp_path, index)
    assert str(training_data_path(tmp_path)) in str(error.value) and "\n" not in str(error.value)


def test_the_record_is_json_for_other_programs(tmp_path):
    BEFORE.save(tmp_path)
    content = json.loads(training_data_path(tmp_path).read_text())
    assert content["digest"] == BEFORE.digest and content["images"] == {"visible": 5, "infrared": 3}
