"""Checks a data set before training, and packs it: `python -m pipeline.prepare CONFIG... [key=value ...] [--pack DIR]`.

Reads the split files and folders as training will, decodes every image, counts, compares with the published numbers,
and builds all that training and test build of data set and settings: usable means that `pipeline.train` starts with the
same arguments. Without a CONFIG, a reason against training with the defaults is a warning only. Prints a
table (split x modality x camera) and a line for each problem. With `--pack`, a data set that is usable is then packed
into one file a split; `data.root=DIR` trains from there. Exit status 0: usable; 1: not.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from pipeline.cli.console import run_module

    run_module("prepare")

import dataclasses
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from dali_ops.decode_graph import decoding_pipeline, resize_images
from pipeline.batch import Modality
from pipeline.build import build_index, build_table, build_trials
from pipeline.checks.counts import check_counts, count_table, format_counts
from pipeline.checks.identities import check_identities, check_leftovers
from pipeline.checks.images import check_images
from pipeline.checks.problem import ERROR, NOTE, WARNING, Problem
from pipeline.cli.prepare import read_options
from pipeline.config import load_config
from pipeline.datasets import dataset_of
from pipeline.datasets.dataset import Published
from pipeline.datasets.held_out import hold_out
from pipeline.datasets.marker import MARKER, has_published_shape
from pipeline.datasets.pack import ROWS, Description, Resize, check_place, describe, is_packed, write_packs
from pipeline.errors import one_line_errors
from pipeline.evaluation.features import fused_derivatives
from pipeline.evaluation.validation import check_validation
from pipeline.files import write_atomically
from pipeline.loading.hardware import usable_cores
from pipeline.loading.images import check_size, open_images
from pipeline.methods.method import Share, method_of
from pipeline.run.ancestors import check_ancestors, lineage
from pipeline.run.trained_identities import check_split_untrained
from pipeline.settings import DataSettings, Settings

BY_DEFAULT = "training with the defaults"
PRINTED = 40  # problems of a level that are printed; all are in the JSON file


def inspect(
    settings: Settings, progress: bool = False, asked: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame, list[Problem]]:
    """Returns the index, the table of counts and all problems. Raises what reading the index raises.

    asked: whether a training with these settings is wanted; else its errors are warnings.
    """
    data = settings.data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        index = build_index(data)
        published = dataset_of(data.dataset).published if published_counts_apply(data) else Published()
        table = count_table(index, published)
        replace = settings.loader.on_corrupt_image == "replace"
        replaceable = (index["split"].isin(data.train_splits) & replace).to_numpy()
        threads = settings.loader.threads or usable_cores()
        with tqdm(total=len(index), desc="checking", unit=" images", disable=not progress, leave=False) as bar:
            problems = [
                *check_images(index, open_images(data.root, index), replaceable, threads, bar.update),
                *check_identities(index, settings),
                *check_counts(table, published),
                *([] if is_packed(data.root) else check_leftovers(index, data.root)),
                *check_protocol(index, settings),
                *check_training(index, settings, asked),
            ]
    seen = dict.fromkeys(str(warning.message) for warning in caught if warning.category is UserWarning)
    return index, table, problems + [Problem(WARNING, data.root, text) for text in seen]


def published_counts_apply(data: DataSettings) -> bool:
    """Returns whether they do: to real data sets and to synthetic ones of the true shape; packs remember it."""
    if is_packed(data.root):
        return describe(data.root).published
    return not (Path(data.root) / MARKER).exists() or has_published_shape(data.root)


def check_protocol(index: pd.DataFrame, settings: Settings) -> list[Problem]:
    """Returns a problem where the trials of the test can't be made."""
    try:
        build_trials(settings, index)
    except (ValueError, FileNotFoundError) as error:
        return [Problem(ERROR, "evaluation", str(error))]
    return []


def check_training(index: pd.DataFrame, settings: Settings, asked: bool) -> Iterator[Problem]:
    """Yields the errors of a training before its first step, except those of the machine and of missing downloads."""
    parts: list[Callable[[], object]] = [
        lambda: check_split_untrained(settings.data, settings.data),
        lambda: fused_derivatives(settings),
        lambda: check_size(open_images(settings.data.root, index), settings.augment),
        lambda: check_divided(settings, hold_out(index, settings)),
        lambda: check_network(settings, index),
    ]
    for part in parts:
        try:
            part()
        except (ValueError, FileNotFoundError) as error:
            yield Problem(ERROR, "training", str(error)) if asked else Problem(WARNING, BY_DEFAULT, str(error))


def check_divided(settings: Settings, index: pd.DataFrame) -> None:
    """Raises ValueError where what is left to train on is too little, or a validation can't be made."""
    build_table(settings, index)
    check_validation(settings, index)


def check_network(settings: Settings, index: pd.DataFrame) -> None:
    """Raises ValueError or FileNotFoundError where no network can be built, or not from the weights that are given."""
    check_ancestors(settings, lineage(settings.model.weights), index)
    alone = Share(0, (settings.batch.ids_per_batch,))
    method, identities = method_of(settings), index["identity"].nunique()
    method.build(method.resolved(settings), identities, alone, settings.model.weights is not None)


def origin(data: DataSettings) -> dict[str, Any]:
    """Returns of which data set, division and folder packs are."""
    return {
        "dataset": data.dataset,
        "splitting": dataset_of(data.dataset).splitting(data),
        "source": os.path.abspath(os.path.expanduser(data.root)),
    }


def pack(index: pd.DataFrame, settings: Settings, folder: Path, resized: bool, progress: bool) -> str:
    """Packs the data set, with the files of its protocol, and returns a line about what was done."""
    data = settings.data
    size = (settings.augment.height, settings.augment.width) if resized else None
    description = Description(
        **origin(data),
        published=published_counts_apply(data),
        rows=index["split"].value_counts(sort=False).to_dict(),
        size=size,
        interpolation=settings.augment.interpolation,
    )
    threads = settings.loader.threads or usable_cores()
    begin = time.perf_counter()
    with tqdm(total=len(index), desc="packing", unit=" images", disable=not progress, leave=False) as bar:
        resize = resizing(*size, settings.augment.interpolation, threads) if size else None
        written = write_packs(folder, index, description, threads, bar.update, resize)
    for file in dataset_of(data.dataset).protocol_files(Path(data.root)):
        shutil.copy(file, folder / file.name)
    seconds = time.perf_counter() - begin
    rate = len(index) / seconds
    form = f"resized to {size[0]} x {size[1]}" if size else "as they are"
    return f"{folder}: packed {len(index)} images {form}: {written / 1e6:.0f} MB in {seconds:.1f} s, {rate:.0f}/s"


def resizing(height: int, width: int, interpolation: str, threads: int) -> Resize:
    """Decodes and resizes as training does on the CPU."""
    options: dict[str, Any] = {"size": (height, width), "interpolation": interpolation}
    pipelines = {
        int(modality): decoding_pipeline(modality.key, batch_size=ROWS, threads=threads, **options)
        for modality in (Modality.VISIBLE, Modality.INFRARED)
    }

    def resize(encoded: list[bytes], modalities: list[int]) -> list[bytes]:
        resized: list[bytes] = [b""] * len(encoded)
        for modality in set(modalities):
            places = [place for place, other in enumerate(modalities) if other == modality]
            contents = [np.frombuffer(encoded[place], np.uint8) for place in places]
            for place, image in zip(places, resize_images(pipelines[modality], contents), strict=True):
                resized[place] = image.tobytes()
        return resized

    return resize


def print_problems(problems: list[Problem]) -> None:
    for level in (ERROR, WARNING, NOTE):
        of_level = [problem for problem in problems if problem.level == level]
        print(*of_level[:PRINTED], sep="\n", end="\n" if of_level else "")
        if len(of_level) > PRINTED:
            print(f"{level}: {len(of_level) - PRINTED} more; --json FILE lists them all")


@one_line_errors
def main(argv: list[str] | None = None) -> None:
    options = read_options(sys.argv[1:] if argv is None else argv)
    settings = load_config(options.arguments)
    if options.pack:
        if is_packed(settings.data.root):
            raise ValueError(
                f"{settings.data.root}: is packed already; name the data set's own folder to pack it again"
            )
        check_place(options.pack, **origin(settings.data))
    progress = sys.stderr.isatty()
    if options.resized:
        # an image without pixels can't be resized
        settings = dataclasses.replace(settings, loader=dataclasses.replace(settings.loader, on_corrupt_image="error"))
    index, table, problems = inspect(settings, progress, options.asked)
    levels = [problem.level for problem in problems]
    errors, warned = levels.count(ERROR), levels.count(WARNING)
    usable = not errors and not (options.strict and warned)
    print(format_counts(table))
    print_problems(problems)
    print(f"{settings.data.root}: {'usable' if usable else 'not usable'}, {errors} errors, {warned} warnings")
    if options.json:
        content = {"usable": usable, "counts": json.loads(table.to_json(orient="records"))}
        content["problems"] = [dataclasses.asdict(problem) for problem in problems]
        write_atomically(options.json, json.dumps(content, indent=2) + "\n")
    if options.pack and usable:
        print(pack(index, settings, options.pack, options.resized, progress))
    elif options.pack:
        print(f"{options.pack}: not packed")
    sys.exit(0 if usable else 1)
