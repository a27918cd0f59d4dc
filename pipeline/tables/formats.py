"""A table as text, CSV, Markdown, HTML or LaTeX. Everything that came from data is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from itertools import groupby

import pandas as pd

from pipeline.tables.table import BEST, SECOND, Table

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "✓": r"$\checkmark$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "…": r"\ldots{}",
} | {letter: f"\\{letter}" for letter in "&%$#_{}"}
PREAMBLE = "% \\usepackage{booktabs,amssymb}"


def escape_latex(text: str) -> str:
    """Returns text that LaTeX prints as it is, in ASCII: letters that pdflatex may not know become question marks."""
    escaped = "".join(
        LATEX.get(letter, letter if letter.isascii() and letter.isprintable() else "?") for letter in text
    )
    return re.sub(r"\bD\\_([IV])\b", r"$D_\1$", escaped)  # the derivatives


def escape_markdown(text: str) -> str:
    escaped = re.sub(r"([\\`*_\[\]|~#$])", r"\\\1", html.escape(text, quote=False))
    return " ".join(escaped.split())


def escape_html(text: str) -> str:
    """Returns text that HTML shows as it is, in ASCII, which every charset holds."""
    return html.escape(text).encode("ascii", "xmlcharrefreplace").decode()


def cells(
    table: Table, escape: Callable[[str], str], marked: dict[str, str], small: str, heads: bool = True
) -> pd.DataFrame:
    """Returns the table as text of a format: `marked` and `small` are patterns of a metric and of its deviation."""
    marks = table.marks()
    whole = table.labels.map(escape)
    for column in table.shown:
        metrics = zip(table.shown[column], table.deviations[column], marks[column], strict=True)
        whole[column] = [
            marked.get(mark, "{}").format(escape(shown)) + (small.format(escape(deviation)) if deviation else "")
            for shown, deviation, mark in metrics
        ]
    names = [(escape(head), escape(name)) for head, name in (*table.labels, *table.shown)]
    whole.columns = pd.MultiIndex.from_tuples(names)
    return whole if heads and any(head for head, _ in names) else whole.droplevel(0, axis=1)


def to_text(table: Table) -> str:
    whole = cells(table, str, {}, " {}")
    return "\n".join([table.caption, "", whole.to_string(index=False), *table.notes]) + "\n"


def to_csv(table: Table) -> str:
    """Returns a column for each metric, as `all-search_r1`, and for its deviation, `all-search_r1_deviation`."""
    columns = {"_".join(part for part in name if part): table.labels[name] for name in table.labels}
    for name in table.shown:
        flat = "_".join(part for part in name if part).replace("r=", "r")
        columns[flat] = table.shown[name]
        if (table.deviations[name] != "").any():
            columns[f"{flat}_deviation"] = table.deviations[name].str.removeprefix("±")
    return pd.DataFrame(columns).to_csv(index=False)


def to_markdown(table: Table) -> str:
    whole = cells(table, escape_markdown, {BEST: "**{}**", SECOND: "<u>{}</u>"}, " {}")
    heads = [
        " ".join(dict.fromkeys(part for part in ([name] if isinstance(name, str) else name) if part)) for name in whole
    ]
    sides = ["---"] * table.labels.shape[1] + ["---:"] * table.shown.shape[1]
    lines = [heads, sides, *whole.to_numpy().tolist()]
    notes = [f"- {escape_markdown(note)}" for note in table.notes]
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{escape_markdown(table.caption)}**", "", *rows, "", *notes]) + "\n"


def to_html(table: Table) -> str:
    """Returns a `<figure>` to be put into a page."""
    marked = {BEST: "<b>{}</b>", SECOND: "<u>{}</u>"}
    whole = cells(table, escape_html, marked, " <small>{}</small>")
    body = whole.to_html(escape=False, index=False, border=0, justify="left", sparsify=True)
    notes = "".join(f"<li>{escape_html(note)}</li>" for note in table.notes)
    notes = f"\n<ul>{notes}</ul>" if notes else ""
    return f"<figure>\n<figcaption>{escape_html(table.caption)}</figcaption>\n{body}{notes}\n</figure>\n"


def to_latex(table: Table) -> str:
    """Returns a `table*` with booktabs' lines; needs the packages booktabs and amssymb."""
    marked = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}
    whole = cells(table, escape_latex, marked, r" {{\scriptsize {}}}")
    sides = "l" + "".join("c" if head else "l" for head, _ in list(table.labels)[1:]) + "r" * table.shown.shape[1]
    body = whole.to_latex(index=False, escape=False, column_format=sides, multicolumn_format="c").splitlines()
    first = body.index(r"\midrule") + 1
    for row in sorted(table.rules, reverse=True):
        body.insert(first + row, r"\midrule")
    if whole.columns.nlevels > 1:
        body.insert(body.index(r"\toprule") + 2, rules_below([head for head, _ in whole.columns]))
    notes = " ".join(f"{escape_latex(note)}." for note in table.notes)
    below = [rf"\par\smallskip\parbox{{0.95\linewidth}}{{\footnotesize {notes}}}"] if notes else []
    caption = rf"\caption{{{escape_latex(table.caption)}}}"
    head = [PREAMBLE, r"\begin{table*}", r"\centering\small\setlength{\tabcolsep}{3pt}", caption]
    return "\n".join([*head, rf"\label{{tab:{table.name}}}", *body, *below, r"\end{table*}"]) + "\n"


def rules_below(heads: list[str]) -> str:
    """Returns a line below each heading that several columns share."""
    rules = []
    for head, places in groupby(range(len(heads)), heads.__getitem__):
        first, *_, last = [*places] * 2
        rules += [rf"\cmidrule(lr){{{first + 1}-{last + 1}}}"] if head else []
    return " ".join(rules)


# name of the format -> how it is written, and what its files end in
FORMATS: dict[str, tuple[Callable[[Table], str], str]] = {
    "text": (to_text, "txt"),
    "csv": (to_csv, "csv"),
    "markdown": (to_markdown, "md"),
    "html": (to_html, "html"),
    "latex": (to_latex, "tex"),
}
