"""Which identities a run was trained on: none of them may be tested, and none may join or leave while it is trained.

Identities of a user's own data are known by name, which the run keeps in split.csv; those of published data sets by
their numbers, which it keeps in training_data.json, and by the settings that divide them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets import dataset_of
from pipeline.datasets.held_out import OWN_SPLIT, is_validated_on
from pipeline.datasets.listing import HELD_OUT
from pipeline.datasets.manifest import read_splits
from pipeline.run.training_data import read_training_data, training_data_path
from pipeline.settings import DataSettings, Settings


def split_path(folder: Path) -> Path:
    return folder / "split.csv"


def named_splits(index: pd.DataFrame) -> dict[str, str]:
    """Returns the split of each name of a user's data, in the order of their identities; empty for data sets without
    names."""
    if "name" not in index:
        return {}
    people = index.drop_duplicates("identity").sort_values("identity")
    return dict(zip(people["name"], people["split"], strict=True))


def names_in(split_of: dict[str, str], splits: list[str]) -> list[str]:
    return [name for name, split in split_of.items() if split in splits]


def check_same_identities(settings: Settings, split_of: dict[str, str], path: Path) -> None:
    """Raises ValueError where identities trained on, or their order and so their labels, aren't those of the run's
    split.csv."""
    before, now = (names_in(splits, settings.data.train_splits) for splits in (read_splits(path), split_of))
    if before == now:
        return
    changed = sorted(set(before) ^ set(now))
    if not changed:
        found = "found them numbered in another order"
    else:
        where = "among them and not" if changed[0] in before else "not among them but"
        found = f"{changed[0]!r} is {where} in the training data now ({len(changed)} differ)"
    raise ValueError(
        f"{path.parent}: trains on the identities of its split.csv; {found}. "
        f"Add data.split_file={path} or choose another name="
    )


def check_split_untrained(data: DataSettings, trained: DataSettings) -> None:
    """Raises ValueError where a split is both trained on and tested on."""
    if data.test_split in trained.train_splits:
        raise ValueError(
            f"data.test_split: {data.test_split} was trained on (data.train_splits={trained.train_splits}); its "
            "metrics would say nothing"
        )


def check_no_leak(settings: Settings, kept: Settings, run_folder: Path, index: pd.DataFrame) -> None:
    """Raises ValueError where the run in `run_folder`, trained as `kept` says, has seen identities to be tested.

    By their names where split.csv holds those of the run; else by the settings that divide the data set, and by the
    numbers that training_data.json holds (runs that are older than this record haven't it).
    """
    if settings.data.dataset != kept.data.dataset:
        return
    file = split_path(run_folder)
    if file.exists():
        seen = names_in(read_splits(file), seen_splits(settings, kept))
        check_names_unseen(index, settings.data.test_split, seen, file)
        return
    for name in dataset_of(kept.data.dataset).split_keys:
        asked, trained = getattr(settings.data, name), getattr(kept.data, name)
        if asked != trained:
            raise ValueError(
                f"data.{name}: the run was trained with {trained!r}; evaluating it with {asked!r} would test "
                f"identities it was trained on"
            )
    trained_on = read_training_data(run_folder)
    if trained_on is not None:
        check_numbers_untrained(index, settings.data, set(trained_on.identities), training_data_path(run_folder))


def seen_splits(settings: Settings, kept: Settings) -> list[str]:
    """Returns the splits of a run of which nobody may be tested: trained on, or validated on and not tested as such."""
    validated = [split for split in (HELD_OUT, OWN_SPLIT) if is_validated_on(split, kept)]
    return [*kept.data.train_splits, *(split for split in validated if split != settings.data.test_split)]


def check_numbers_untrained(index: pd.DataFrame, data: DataSettings, trained: set[str], file: Path) -> None:
    tested = index["identity"][index["split"] == data.test_split].unique().tolist()
    both = [identity for identity in tested if str(identity) in trained]
    if both:
        raise ValueError(
            f"{data.root}: would test identities it was trained on, {len(both)} of {len(tested)} by {file}; the first "
            f"is {both[0]}; give the data.root= of the training, or numbers of their own to those that are other people"
        )


def check_names_unseen(index: pd.DataFrame, test_split: str, seen: list[str], file: Path) -> None:
    tested = names_in(named_splits(index), [test_split])
    both = sorted(set(tested) & set(seen))
    if both:
        raise ValueError(
            f"{file.parent}: would test identities it was trained on, or validated on, {len(both)} of {len(tested)}; "
            f"the first is {both[0]!r}; add data.split_file={file}, or rename those that only have the same name"
        )
