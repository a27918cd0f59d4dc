"""Who a run was trained on: nobody of them may be tested, and nobody may join or leave while it is trained.

Identities of a user's own data are known by name, which the run keeps in split.csv; those of published data sets by the
settings that divide them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pipeline.datasets import SPLITTING
from pipeline.datasets.manifest import read_splits
from pipeline.settings import DataSettings, Settings


def split_path(folder: Path) -> Path:
    return folder / "split.csv"


def named_splits(index: pd.DataFrame) -> dict[str, str]:
    """Name -> split of a user's people, in the order of their identities; empty for data sets without names."""
    if "name" not in index:
        return {}
    people = index.drop_duplicates("identity").sort_values("identity")
    return dict(zip(people["name"], people["split"], strict=True))


def names_in(split_of: dict[str, str], splits: list[str]) -> list[str]:
    return [name for name, split in split_of.items() if split in splits]


def refuse_other_identities(settings: Settings, split_of: dict[str, str], path: Path) -> None:
    """ValueError where those trained on, or their order and so their labels, aren't those of the run's split.csv."""
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


def refuse_trained_split(data: DataSettings, trained: DataSettings) -> None:
    """ValueError where a split is both trained on and tested on."""
    if data.test_split in trained.train_splits:
        raise ValueError(
            f"data.test_split: {data.test_split} was trained on (data.train_splits={trained.train_splits}); its "
            f"figures would say nothing"
        )


def refuse_leak(settings: Settings, kept: Settings, run_folder: Path, index: pd.DataFrame) -> None:
    """ValueError where the run in `run_folder`, trained as `kept` says, was trained on identities that would be tested.

    By their names where split.csv holds those of the run; else by the settings that divide the data set.
    """
    if settings.data.dataset != kept.data.dataset:
        return
    file = split_path(run_folder)
    if file.exists():
        refuse_trained_names(index, settings.data.test_split, names_in(read_splits(file), kept.data.train_splits), file)
        return
    for name in SPLITTING[kept.data.dataset]:
        asked, trained = getattr(settings.data, name), getattr(kept.data, name)
        if asked != trained:
            raise ValueError(
                f"data.{name}: the run was trained with {trained!r}; evaluating it with {asked!r} would test "
                f"identities it was trained on"
            )


def refuse_trained_names(index: pd.DataFrame, test_split: str, trained: list[str], file: Path) -> None:
    tested = names_in(named_splits(index), [test_split])
    both = sorted(set(tested) & set(trained))
    if both:
        raise ValueError(
            f"{file.parent}: would test identities it was trained on, {len(both)} of {len(tested)}; the first is "
            f"{both[0]!r}; add data.split_file={file}, or rename those that are other people of the same name"
        )
