"""Identities held out for validation: who, for every data set, and that its protocol has trials of them."""

import numpy as np
import pandas as pd
import pytest

from pipeline.batch import Modality
from pipeline.build import build_divided_index, build_index, build_table, build_trials
from pipeline.config import load_config
from pipeline.datasets.held_out import hold_out, is_validated_on, validation_settings, validation_split
from pipeline.datasets.listing import HELD_OUT
from pipeline.datasets.pack import Description, relative_paths, write_packs
from pipeline.evaluation.validation import check_validation
from pipeline.protocols import DIRECTIONS
from pipeline.run.trained_identities import check_no_leak, named_splits, split_path
from pipeline.run.training_data import training_data
from pipeline.synthetic.generation import generate

SMALL = ["batch.ids_per_batch=2", "validation.every_epochs=1"]


def index_of(train, test=(), one_modality=()):
    """An index of an image of each modality of each identity."""
    rows = [(number, split) for split, numbers in (("train", train), ("test", test)) for number in numbers]
    rows = [(number, int(base), split) for base in (0, 1) for number, split in rows]
    rows += [(number, 0, "train") for number in one_modality]
    return pd.DataFrame(rows, columns=["identity", "modality", "split"])


def who(index, split):
    return set(index["identity"][index["split"] == split])


def slow_choice(candidates, seed, count):
    """Those with the smallest of the numbers that NumPy's Philox gives, one after the other."""
    generator = np.random.Philox(key=[seed, 1])
    drawn = [(int(generator.random_raw()), number) for number in sorted(candidates)]
    return {number for _, number in sorted(drawn)[:count]}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 7])
def test_a_share_of_those_in_both_modalities_is_held_out_by_the_seed(share, seed):
    index = index_of(range(10, 50), range(50, 60), one_modality=[3, 4, 5])
    settings = load_config([*SMALL, f"validation.identities={share}", f"validation.seed={seed}"])
    divided = hold_out(index, settings)
    assert who(divided, HELD_OUT) == slow_choice(range(10, 50), seed, round(40 * share))
    assert who(divided, "train") == who(index, "train") - who(divided, HELD_OUT)
    assert who(divided, "test") == set(range(50, 60))
    pd.testing.assert_frame_equal(divided.drop(columns="split"), index.drop(columns="split"))
    pd.testing.assert_frame_equal(hold_out(index.sample(frac=1, random_state=0), settings).sort_index(), divided)


def test_who_is_held_out_stays_the_same_in_every_version():
    index = index_of(range(1, 21))
    settings = load_config([*SMALL, "validation.identities=0.2", "validation.seed=3"])
    assert who(hold_out(index, settings), HELD_OUT) == {4, 8, 9, 10}


def test_a_test_identity_of_the_same_number_stays_in_the_test():
    index = index_of(range(4), range(4))
    divided = hold_out(index, load_config([*SMALL, "validation.identities=0.5"]))
    assert who(divided, "test") == set(range(4)) and len(who(divided, HELD_OUT)) == 2


@pytest.mark.parametrize(
    ("share", "message"),
    [
        (0.05, r"validation\.identities: .* holds out 2 or more of 20 training identities; found 0\.05"),
        (0.95, r"leaves batch\.ids_per_batch=2 or more of 20 training identities; found 0\.95, which leaves 1"),
    ],
)
def test_shares_that_leave_too_few_are_errors(share, message):
    with pytest.raises(ValueError, match=message) as error:
        hold_out(index_of(range(20)), load_config([*SMALL, f"validation.identities={share}"]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validation.every_epochs=1"], r"validation\.identities: expected a share of .* has no split val; found 0"),
        (["validation.patience=3"], r"validation\.patience: 3 needs validation\.every_epochs"),
        (["validation.selection=best"], r"validation\.selection: best needs validation\.every_epochs"),
        (
            ["validation.every_epochs=1", "validation.identities=0.5", "data.test_split=validation"],
            r"data\.test_split: expected another split than validation, on which is validated",
        ),
    ],
)
def test_validations_that_cannot_be_are_errors(arguments, message):
    settings = load_config(["batch.ids_per_batch=2", *arguments])
    with pytest.raises(ValueError, match=message) as error:
        check_validation(settings, hold_out(index_of(range(8)), settings))
    assert "\n" not in str(error.value)


def test_a_split_that_is_trained_on_is_no_validation():
    index = index_of(range(8)).assign(split=["val"] * 8 + ["train"] * 8)
    with pytest.raises(ValueError, match=r"data\.train_splits without val; found 0 and .*\['train', 'val'\]"):
        validation_split(index, load_config(SMALL))
    assert validation_split(index, load_config([*SMALL, "data.train_splits=[train]"])) == "val"


def test_the_index_without_the_division_is_not_trained_on():
    index = index_of(range(8))
    with pytest.raises(AssertionError, match="build_divided_index"):
        build_table(load_config([*SMALL, "validation.identities=0.5"]), index)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for layout, identities in (("sysu", 20), ("regdb", 12), ("llcm", 15), ("folder", 12)):
        generate(layout, folder / layout, identities=identities, images_per_camera=1, seed=0, workers=1)
    return folder


# mode and direction of the trials of a validation
TRIALS = {
    "sysu": {("all", "infrared_to_visible")},
    "regdb": {("all", direction) for direction in DIRECTIONS},
    "llcm": {("paper", direction) for direction in DIRECTIONS},
    "folder": {("all", direction) for direction in DIRECTIONS},
}


def words_of(roots, layout):
    return [f"data.dataset={layout}", f"data.root={roots / layout}", *SMALL]


@pytest.mark.parametrize("layout", TRIALS)
def test_who_is_held_out_of_a_data_set_is_neither_trained_on_nor_tested(roots, layout):
    settings = load_config([*words_of(roots, layout), "validation.identities=0.4"])
    index, whole = build_divided_index(settings), build_index(settings.data)
    held_out, table = who(index, HELD_OUT), build_table(settings, index)
    trained, tested = set(table.identities.tolist()), identities_of(build_trials(settings, index), index)
    assert len(held_out) >= 2 and held_out | trained <= who(whole, "train") | who(whole, "val")
    assert not held_out & trained and not held_out & tested and not trained & tested
    of_table = {int(row) for rows in table.rows.values() for own in rows for row in own}
    assert not of_table & set(np.flatnonzero(index["split"] == HELD_OUT))
    names = index.get("name", index["identity"]).astype(str)
    recorded = training_data(index, table, settings.data).identities
    assert set(recorded) == set(names[index["identity"].isin(trained)])

    validated = validation_settings(settings, validation_split(index, settings))
    trials = build_trials(validated, index)
    assert {(trial.fields["mode"], trial.fields["direction"]) for trial in trials} == TRIALS[layout]
    assert {trial.fields["gallery_rule"] for trial in trials} <= {"all", "random_seed"}
    assert identities_of(trials, index) == held_out
    for trial in trials:
        identity = index["identity"].to_numpy()
        matches = identity[trial.query][:, None] == identity[trial.gallery]
        cameras = index["camera"].to_numpy()
        sides = (identity[trial.query], cameras[trial.query], identity[trial.gallery], cameras[trial.gallery])
        assert (matches & ~trial.exclusion(*sides)).any(axis=1).any(), "no query has a true match"
        modalities = [set(index["modality"].to_numpy()[rows]) for rows in (trial.query, trial.gallery)]
        assert modalities == [{int(base)} for base in DIRECTIONS[trial.fields["direction"]]]


def identities_of(trials, index):
    rows = np.concatenate([part for trial in trials for part in (trial.query, trial.gallery)])
    return set(index["identity"].to_numpy()[rows].tolist())


def test_the_own_validation_split_of_sysu_is_validated_on_where_it_is_not_trained_on(roots):
    settings = load_config([*words_of(roots, "sysu"), "data.train_splits=[train]"])
    index = build_divided_index(settings)
    pd.testing.assert_frame_equal(index, build_index(settings.data))
    assert validation_split(index, settings) == "val"
    trials = build_trials(validation_settings(settings, "val"), index)
    assert identities_of(trials, index) <= who(index, "val") and trials[0].fields["mode"] == "all"


def test_a_split_file_may_name_who_is_held_out(roots, tmp_path):
    words = [*words_of(roots, "folder"), "validation.identities=0.4"]
    index = build_divided_index(load_config(words))
    pd.DataFrame(named_splits(index).items(), columns=["identity", "split"]).to_csv(tmp_path / "split.csv", index=False)
    for more in (["validation.seed=5"], ["validation.identities=0"], ["validation.identities=0.2"]):
        again = build_divided_index(load_config([*words, f"data.split_file={tmp_path / 'split.csv'}", *more]))
        for split in ("train", "test", HELD_OUT):
            assert set(again["path"][again["split"] == split]) == set(index["path"][index["split"] == split])


def test_the_names_held_out_may_be_evaluated_and_those_trained_on_may_not(roots, tmp_path):
    settings = load_config([*words_of(roots, "folder"), "validation.identities=0.4", "data.test_split=validation"])
    index = build_divided_index(settings)
    people = pd.DataFrame(named_splits(index).items(), columns=["identity", "split"])
    people.to_csv(split_path(tmp_path), index=False)
    check_no_leak(settings, settings, tmp_path, index)
    other = load_config([*words_of(roots, "folder"), "validation.identities=0.4", "validation.seed=9"])
    other = validation_settings(other, "validation")
    with pytest.raises(ValueError, match="would test identities it was trained on"):
        check_no_leak(other, settings, tmp_path, hold_out(build_index(other.data), other))


def test_a_pack_holds_the_same_out_and_records_the_same_data(roots, tmp_path):
    words = [*words_of(roots, "folder"), "validation.identities=0.4"]
    settings = load_config(words)
    whole = build_index(settings.data)
    splitting = {"test_fraction": 0.5, "split_seed": 0, "split_file": None}
    rows = whole["split"].value_counts(sort=False).to_dict()
    description = Description("folder", splitting, str(roots / "folder"), False, rows)
    write_packs(tmp_path / "packs", whole, description)
    packed = load_config([*words, f"data.root={tmp_path / 'packs'}"])
    index, from_pack = build_divided_index(settings), build_divided_index(packed)
    assert from_pack["split"].tolist() == index["split"].tolist() and HELD_OUT in set(index["split"])
    assert relative_paths(from_pack, packed.data.root) == relative_paths(index, settings.data.root)
    assert all(not path.startswith("/") for path in relative_paths(from_pack, packed.data.root))
    found = [
        training_data(own, build_table(one, own), one.data) for one, own in ((settings, index), (packed, from_pack))
    ]
    assert found[0] == found[1]


def test_both_captured_modalities_are_needed():
    index = index_of([], [], one_modality=range(9))
    assert (index["modality"] == int(Modality.VISIBLE)).all()
    with pytest.raises(ValueError, match="holds out 2 or more of 0 training identities"):
        hold_out(index, load_config([*SMALL, "validation.identities=0.5"]))


def test_who_was_validated_on_is_not_tested_either(roots, tmp_path):
    """By a split file that exchanges the identities held out and those of the test."""
    validated = ["validation.identities=0.4", "validation.every_epochs=1"]
    kept = load_config([*words_of(roots, "folder"), *validated])
    people = pd.DataFrame(named_splits(build_divided_index(kept)).items(), columns=["identity", "split"])
    people.to_csv(split_path(tmp_path), index=False)
    people["split"] = people["split"].replace({"test": HELD_OUT, HELD_OUT: "test"})
    people.to_csv(tmp_path / "exchanged.csv", index=False)
    exchanged = load_config([*words_of(roots, "folder"), f"data.split_file={tmp_path / 'exchanged.csv'}"])
    with pytest.raises(ValueError, match="would test identities it was trained on, or validated on"):
        check_no_leak(exchanged, kept, tmp_path, build_index(exchanged.data))


def test_a_single_person_is_no_validation(roots, tmp_path):
    words = words_of(roots, "folder")
    people = pd.DataFrame(named_splits(build_index(load_config(words).data)).items(), columns=["identity", "split"])
    people.loc[people.index[people["split"] == "train"][0], "split"] = HELD_OUT
    people.to_csv(tmp_path / "split.csv", index=False)
    settings = load_config([*words, f"data.split_file={tmp_path / 'split.csv'}"])
    with pytest.raises(ValueError, match="expected 2 identities or more in the split validation; found 1"):
        validation_split(build_divided_index(settings), settings)


@pytest.mark.parametrize(
    ("words", "split", "expected"),
    [
        (["validation.every_epochs=1", "data.train_splits=[train]"], "val", True),
        (["validation.every_epochs=1", "validation.identities=0.1"], "validation", True),
        (["validation.every_epochs=1", "validation.identities=0.1", "data.train_splits=[train]"], "val", False),
        (["validation.every_epochs=1", "data.train_splits=[train]"], "test", False),
        (["validation.every_epochs=1", "validation.identities=0.1", "data.test_split=val"], "test", False),
        (["data.train_splits=[train]"], "val", False),
    ],
)
def test_which_split_a_training_validates_on(words, split, expected):
    assert is_validated_on(split, load_config(["configs/sysu.yaml", *words])) == expected
