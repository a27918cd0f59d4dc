"""From run folders to the page: gathers what there is, and the template `page.html.jinja` puts it in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipeline.evaluation.results import corrupted, read_rows, summarize
from pipeline.figures.cmc import cmc
from pipeline.figures.evaluated_run import EvaluatedRun, LeftOut
from pipeline.figures.training import draw_training, training_curves
from pipeline.report import evaluated, facts
from pipeline.report.images import PageImage, page_images
from pipeline.tables.build import table_beside_literature, table_of_runs
from pipeline.tables.compare import table_of_differences
from pipeline.tables.corruption import table_of_corruptions
from pipeline.tables.formats import to_html
from pipeline.tables.layouts import LAYOUTS
from pipeline.tables.read import read_results
from pipeline.tables.table import Table

TEMPLATE = "page.html.jinja"


@dataclass
class RunPart:
    """The page's part on one run; `reasons`: sentences about the parts left out."""

    name: str
    folder: str
    changed: facts.Rows = field(default_factory=list)
    settings: facts.Rows = field(default_factory=list)
    environment: facts.Rows = field(default_factory=list)
    images: list[PageImage] = field(default_factory=list)
    hardest: dict[str, pd.DataFrame] = field(default_factory=dict)
    confusions: dict[str, pd.DataFrame] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def build_page(folders: list[Path], checkpoint: str | None = None) -> str:
    """Returns the HTML of the report, which says what is missing. Raises ValueError where a folder isn't there.

    checkpoint: whose weights the figures of test images are of; last, best or a step.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: expected the folder of a run; found none")
    runs = evaluated.open_runs(folders, checkpoint)
    parts = [run_part(folder, run) for folder, run in runs.items()]
    tables, reasons = result_tables(folders)
    settings = {part.name: part.settings for part in parts if part.settings}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        runs=parts,
        tables=tables,
        reasons=reasons,
        differing=facts.differing_settings(settings) if len(settings) > 1 else [],
        compared=list(settings),
        curves=curves(folders, [run for run in runs.values() if isinstance(run, EvaluatedRun)]),
    )


def result_tables(folders: list[Path]) -> tuple[dict[str, list[Markup]], list[str]]:
    """Returns tables as HTML by their heading; and sentences for what there is no table of."""
    having = [folder for folder in folders if (folder / "results.csv").is_file()]
    reasons = [f"{folder}: no results.csv; `python -m pipeline.evaluate` makes one" for folder in folders]
    reasons = [reason for reason, folder in zip(reasons, folders, strict=True) if folder not in having]
    if not having:
        return {}, reasons
    try:
        rows, places = read_results(having)
        means = summarize(rows)
    except ValueError as reason:
        return {}, [*reasons, f"The results are left out: {reason}"]
    captured = means[~corrupted(means)]
    shown = captured if len(captured) else means
    tables = {"Results": [to_markup(table_of_runs(shown))], "Beside the literature": []}
    if corrupted(means).any():
        tables["Corrupted images"] = [to_markup(table_of_corruptions(means))]
    for name in LAYOUTS:
        try:
            table = table_beside_literature(name, means, places)
        except ValueError:
            continue  # the runs have no rows of this data set
        if len(table.block) > table.block.count("published") or "published" in table.block[-1:]:
            tables["Beside the literature"].append(to_markup(table))
    if len(having) > 1:
        try:
            tables["Comparison"] = [to_markup(table_of_differences(rows, places, having[0]))]
        except ValueError as reason:
            reasons.append(f"The comparison is left out: {reason}")
    return {heading: found for heading, found in tables.items() if found}, reasons


def to_markup(table: Table) -> Markup:
    return Markup(to_html(table))  # escapes by itself all that comes from data


def curves(folders: list[Path], runs: list[EvaluatedRun]) -> list[PageImage]:
    """Returns training and CMC curves, of all runs in one figure each."""
    metrics, reasons = {}, []
    for folder in folders:
        try:
            metrics[folder.name] = training_curves(folder / "metrics.csv")
        except (LeftOut, ValueError) as reason:
            reasons.append(PageImage("training", f"The training curve of {folder.name} is left out: {reason}"))
    text = "The loss, its parts before they are weighted, the learning rate of the neck, and validations, if any."
    found = page_images("training", text, lambda: {"training": draw_training(metrics)}) if metrics else []
    if runs:
        text = "How often the right person is among the first k; means over the trials."
        return [*found, *page_images("CMC", text, lambda: cmc(runs)), *reasons]
    return [
        *found,
        *reasons,
        PageImage("CMC", "CMC curves are left out: no run could be evaluated here (see each run)"),
    ]


def run_part(folder: Path, run: EvaluatedRun | str) -> RunPart:
    part = RunPart(folder.resolve().name, str(folder))
    try:
        part.changed, part.settings = facts.settings_rows(folder)
    except (ValueError, OSError) as reason:
        part.reasons.append(f"The settings are left out: {reason}")
    try:
        part.environment = facts.environment_rows(folder)
    except (ValueError, OSError) as reason:
        part.reasons.append(f"The environment is left out: {reason}")
    part.images = [*evaluated.batch_images(folder), *evaluated.made_images(folder), *evaluated.run_images(run)]
    part.confusions = evaluated.confusions(run) if isinstance(run, EvaluatedRun) else {}
    try:
        part.hardest = facts.hardest_queries(folder, read_rows(folder / "results.csv"))
    except (ValueError, OSError) as reason:
        part.reasons.append(f"The hardest queries are left out: {reason}")
    if not part.hardest:
        part.reasons.append("No metrics per query were kept; `python -m pipeline.evaluate` of this version keeps them.")
    return part
