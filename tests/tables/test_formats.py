"""Each format shows every label and figure, and can be read again."""

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.results import summarize
from pipeline.tables.build import table_of_runs
from pipeline.tables.formats import FORMATS, escape_html, escape_latex, escape_markdown
from tests.tables.rows import STRANGE, keep, sysu_rows, table_of


@pytest.fixture
def strange(tmp_path):
    """A table whose run has a name full of special characters, and four runs to mark."""
    rows = [sysu_rows(name, value) for name, value in ((STRANGE, 44), ("b", 40), ("c", 41), ("d", 42))]
    return table_of("sysu", *(keep(tmp_path / str(number), own) for number, own in enumerate(rows)))


class Cells(HTMLParser):
    """Rows of the texts in td; names of all elements."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.names = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


def test_html_shows_every_label_as_text_and_every_figure(strange):
    page = FORMATS["html"][0](strange)
    assert page.isascii() and "<script" not in page
    parsed = Cells(page)
    assert {"b", "u", "table", "figcaption"} <= parsed.names
    body = [[cell.strip() for cell in row] for row in parsed.rows[2:]]
    assert [row[0] for row in body] == strange.labels.iloc[:, 0].tolist()
    assert [row[2].split(" ")[0] for row in body] == strange.shown.iloc[:, 0].tolist()
    assert re.search(r"<b>51\.05</b>", page) and re.search(r"<u>49\.50</u> <small>&#177;3\.03</small>", page)


def test_markdown_has_a_field_for_every_column_and_no_html_of_the_datas(strange):
    lines = [line for line in FORMATS["markdown"][0](strange).splitlines() if line.startswith("|")]
    fields = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    assert {len(row) for row in fields} == {10} and len(fields) == 2 + len(strange.labels)
    assert "<script" not in "".join(lines) and "**51.05**" in lines[13] and "<u>49.50</u> ±3.03" in "".join(lines)
    assert escape_markdown("a|b*c_") == r"a\|b\*c\_"


def test_csv_can_be_read_again_with_deviations_in_columns_of_their_own(strange):
    table = pd.read_csv(io.StringIO(FORMATS["csv"][0](strange)))
    assert table["method"].tolist() == strange.labels.iloc[:, 0].tolist()
    np.testing.assert_allclose(table["all-search_r1"], strange.shown.iloc[:, 0].astype(float))
    assert table["all-search_r1_deviation"].dropna().tolist() == [3.03] * 4
    assert table.select_dtypes("number").shape[1] == 16


def test_latex_escapes_every_special_character():
    assert escape_latex("a_b & 50% #1 {x}") == r"a\_b \& 50\% \#1 \{x\}"
    assert escape_latex(r"~ ^ \ <|>") == (
        r"\textasciitilde{} \textasciicircum{} \textbackslash{} \textless{}\textbar{}\textgreater{}"
    )
    assert escape_latex("D_I, MAD_V é\n") == r"$D_I$, MAD\_V ??"
    assert escape_html("<&é") == "&lt;&amp;&#233;"


def test_latex_has_balanced_groups_and_as_many_fields_in_every_row(strange):
    text = FORMATS["latex"][0](strange)
    bare = re.sub(r"\\[{}&%$#_\\]", lambda found: "\n" if found[0] == r"\\" else "", text)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    body = bare[bare.index("\\midrule") : bare.index("\\bottomrule")].splitlines()
    rows = [line for line in body if "&" in line]
    assert {row.count("&") for row in rows} == {9} and len(rows) == len(strange.labels)
    assert re.findall(r"\\begin{(.*?)}", text) == [*re.findall(r"\\end{(.*?)}", text)[::-1]]
    for rule in ("\\toprule", "\\cmidrule(lr){3-6} \\cmidrule(lr){7-10}", "\\bottomrule"):
        assert rule in text
    assert r"\textbf{51.05}" in text and r"\underline{49.50}" in text and text.count("\\midrule") == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex (texlive-latex-recommended)")
def test_latex_compiles_with_booktabs(strange, tmp_path):
    ablation = table_of(
        "ablation",
        keep(tmp_path / "m", sysu_rows("m"), "configs/sysu.yaml", "configs/ablation/mdl3.yaml"),
    )
    for number, table in enumerate((strange, ablation, table_of_runs(summarize(pd.DataFrame(sysu_rows(STRANGE)))))):
        (tmp_path / f"{number}.tex").write_text(FORMATS["latex"][0](table))
    document = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,amssymb}\begin{document}"
    document += r"\input{0}\input{1}\input{2}\end{document}"
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10000
