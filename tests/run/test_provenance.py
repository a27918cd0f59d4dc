"""What a training really used: kept, added to, compared."""

from dataclasses import replace

import pytest
from accelerate import Accelerator

from pipeline.config import load_config
from pipeline.run.folder import open_run, read_environments, settings_of
from pipeline.run.provenance import (
    UNKNOWN,
    UNTRAINED,
    Stretch,
    TrainingFacts,
    facts_path,
    older_facts,
    read_facts,
    record_weights,
    resumed_facts,
    starting_facts,
    write_facts,
)
from pipeline.run.training_data import TrainingData

DATA = TrainingData("sysu", {"visible": 2}, {"1": "aa", "2": "bb"})
FACTS = TrainingFacts("7a", "resnet50.tv_in1k 0b", "fp32", "global", "float32", (Stretch(0, 1, "cpu", "0.1+a"),))


@pytest.fixture()
def arguments(tmp_path):
    return [f"output={tmp_path}", "name=run"]


def checkpoint(folder, step, ranks=1):
    place = folder / "checkpoints" / f"step-{step:08d}"
    place.mkdir(parents=True)
    for rank in range(ranks):
        (place / f"random_states_{rank}.pkl").touch()


def start(arguments, facts=FACTS, data=DATA):
    return open_run(load_config(arguments), None, data, facts)


def test_facts_survive_the_file_and_the_header(tmp_path):
    facts = replace(FACTS, stretches=(*FACTS.stretches, Stretch(20, 4, "mixed", "0.1+b")))
    write_facts(tmp_path, facts)
    assert read_facts(tmp_path) == facts == TrainingFacts.from_json(facts.to_json())
    for text in ("{cut", "[]", "{}", '{"stretches": []}', '{"stretches": [{}]}'):
        facts_path(tmp_path).write_text(text)
        with pytest.raises(ValueError, match=r"training\.json: ") as error:
            read_facts(tmp_path)
        assert "\n" not in str(error.value)


def test_the_columns_say_each_thing_once():
    stretches = [Stretch(0, 1, "cpu", "0.1+a"), Stretch(3, 4, "cpu", "0.1+b"), Stretch(5, 4, "mixed", "0.1+a")]
    columns = replace(FACTS, image_type="bfloat16", stretches=tuple(stretches)).columns()
    assert columns == {
        "train_set": "7a",
        "weights": "resnet50.tv_in1k 0b",
        "train_precision": "fp32 of bfloat16 images",
        "norm": "global",
        "train_code_version": "0.1+a, 0.1+b",
        "ranks": "1, 4",
        "decode": "cpu, mixed",
    }
    assert set(UNTRAINED.columns().values()) == {"none"}


def test_a_start_is_described_by_what_the_launcher_says(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    settings = load_config(["loader.image_type=bfloat16"])
    facts = starting_facts(settings, Accelerator(cpu=True))
    assert (facts.precision, facts.norm, facts.image_type) == ("bf16", "global", "bfloat16")
    (stretch,) = facts.stretches
    assert (stretch.step, stretch.ranks, stretch.decode) == (0, 1, "cpu") and stretch.code_version.startswith("0.")


def test_every_stretch_of_which_something_is_left_is_kept(arguments):
    folder = start(arguments)
    record_weights(folder, "random")
    checkpoint(folder, 5)
    second = replace(FACTS, stretches=(Stretch(0, 2, "cpu", "0.1+b"),))
    start(arguments, second)
    start(arguments, second)  # no step of the start before was kept
    found = read_facts(folder)
    assert found.stretches == (Stretch(0, 1, "cpu", "0.1+a"), Stretch(5, 2, "cpu", "0.1+b"))
    assert (found.train_set, found.weights) == (DATA.digest, "random")
    assert len(read_environments(folder)) == 3
    assert resumed_facts(found, FACTS, 3).stretches == (Stretch(0, 1, "cpu", "0.1+a"), Stretch(3, 1, "cpu", "0.1+a"))


def test_a_start_that_trains_nothing_adds_nothing(arguments):
    folder = start(arguments)
    (folder / "model.safetensors").touch()
    before = [(folder / name).read_bytes() for name in ("training.json", "env.json")]
    start(arguments, replace(FACTS, stretches=(Stretch(0, 1, "cpu", "0.1+b"),)))
    assert [(folder / name).read_bytes() for name in ("training.json", "env.json")] == before


OTHERS = {
    "precision": ("bf16", r"train\.precision: the run was begun with fp32; found bf16 \(train\.precision is null and"),
    "norm": ("local", r"train\.norm: the run was begun with global; found local \(train\.norm=\w+, on 1 processes\)"),
    "image_type": ("float16", r"loader\.image_type: the run was begun with float32; found float16"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_goes_on_as_it_began(arguments, name, monkeypatch):
    value, message = OTHERS[name]
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    folder = start(arguments)
    start(arguments, replace(FACTS, **{name: value}))  # nothing was trained yet
    start(arguments)
    checkpoint(folder, 2)
    before = facts_path(folder).read_text()
    with pytest.raises(ValueError, match=message) as error:
        start(arguments, replace(FACTS, **{name: value}))
    assert "\n" not in str(error.value) and facts_path(folder).read_text() == before
    if name == "precision":
        assert "ACCELERATE_MIXED_PRECISION is bf16" in str(error.value)
        with pytest.raises(ValueError, match=r"found bf16 \(train\.precision=bf16\)"):
            start([*arguments, "train.precision=bf16"], replace(FACTS, precision="bf16"))


def test_a_run_resumes_with_the_data_it_began_with(arguments):
    folder = start(arguments)
    checkpoint(folder, 2)
    start(arguments)
    with pytest.raises(ValueError, match=r"identity 2 is not there any more \(2 differ\)"):
        start(arguments, data=TrainingData("sysu", {"visible": 2}, {"1": "aa", "3": "bb"}))


def test_a_run_goes_on_from_the_weights_it_began_with(arguments):
    folder = start(arguments)
    record_weights(folder, "resnet50.tv_in1k 0b")
    record_weights(folder, "resnet50.tv_in1k 0c")  # nothing was trained yet
    checkpoint(folder, 2)
    record_weights(folder, "resnet50.tv_in1k 0c")
    with pytest.raises(ValueError, match=r"begun from resnet50\.tv_in1k 0c; found file 0b") as error:
        record_weights(folder, "file 0b")
    assert "\n" not in str(error.value)


def test_weights_are_recorded_in_an_opened_folder_only(tmp_path):
    record_weights(tmp_path, "random")
    assert not [*tmp_path.iterdir()]


def test_the_precision_that_was_trained_in_is_kept_in_the_settings(arguments):
    folder = start(arguments, replace(FACTS, precision="bf16"))
    assert settings_of(folder).train.precision == "bf16"
    checkpoint(folder, 2)
    start(arguments, replace(FACTS, precision="bf16"))
    assert settings_of(folder).train.precision == "bf16"


# ---------------------------------------------------------------- runs older than the record


@pytest.mark.parametrize(("ranks", "norm"), [(1, "global"), (4, "local")])
def test_an_older_run_is_known_by_its_settings_and_checkpoints(arguments, ranks, norm):
    folder = open_run(load_config([*arguments, "train.norm=local", "loader.image_type=float16"]))
    checkpoint(folder, 2, ranks)
    found = older_facts(folder, settings_of(folder))
    assert (found.norm, found.precision, found.image_type) == (norm, UNKNOWN, "float16")
    assert found.stretches == (Stretch(0, ranks, UNKNOWN, UNKNOWN),)
    assert found.train_set == found.weights == UNKNOWN


def test_an_older_run_goes_on_and_what_is_not_known_stays_unknown(arguments):
    folder = open_run(load_config([*arguments, "train.norm=local"]))
    checkpoint(folder, 2)
    with pytest.raises(ValueError, match=r"train\.norm: the run was begun with global; found frozen"):
        start([*arguments, "train.norm=frozen"], replace(FACTS, norm="frozen"))
    start(arguments, replace(FACTS, precision="bf16"))
    record_weights(folder, "random")
    found = read_facts(folder)
    assert (found.train_set, found.weights, found.precision) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert found.columns()["train_code_version"] == "unknown, 0.1+a"
    assert settings_of(folder).train.precision is None
    assert not (folder / "training_data.json").exists(), "it would say who is there now, not who was trained on"


def test_a_finished_older_run_without_checkpoints_says_that_its_norm_is_not_known(arguments):
    folder = open_run(load_config([*arguments, "train.norm=local", "train.precision=bf16"]))
    found = older_facts(folder, settings_of(folder))
    assert (found.norm, found.precision) == (UNKNOWN, "bf16") and found.columns()["ranks"] == UNKNOWN
