"""The tables: what stands in which line and column, what is marked, and that each format can be read again."""

import io
import re
import shutil
import statistics
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from pipeline.config import load_config
from pipeline.literature import FOLDER, read_literature, source_of
from pipeline.queries import COLUMNS, write_queries
from pipeline.results import METRICS, append_rows, summarise
from pipeline.tables.__main__ import main
from pipeline.tables.build import table_beside_literature, table_of_runs
from pipeline.tables.compare import difference, figures_by_query
from pipeline.tables.formats import FORMATS, escape_html, escape_latex, escape_markdown
from pipeline.tables.read import read_results
from pipeline.tables.table import BEST, SECOND, Table
from pipeline.tables.ticks import TICKS, ticks_by_row, ticks_of

PUBLISHED = {"all": 301, "indoor": 112}
STRANGE = "a_b & 50% <script>alert(1)</script> $x^2$ {~} \\ # | `c` é"


def sysu_rows(run, value=40.0, seed=0, sizes=PUBLISHED, **more):
    """Ten trials of both modes; the figures are known functions of all that varies."""
    facts = {"run": run, "dataset": "sysu", "split": "test", "test_set": "aa", "extractor": "network", "flip": False}
    facts |= {"epoch": 80, "seed": seed, "config": f"{run}", "recipe": "", "shots": "single", "evaluation": ""}
    facts |= {"gallery_rule": "official", "direction": "infrared_to_visible", "queries": 30}
    facts |= {"re_ranking": "none", "metric": "cosine"} | more
    return [
        facts
        | {"mode": mode, "gallery": gallery, "trial": trial}
        | {name: value + trial + 8 * place + 5 * (mode == "indoor") for place, name in enumerate(METRICS)}
        for mode, gallery in sizes.items()
        for trial in range(1, 11)
    ]


def other_rows(dataset, run, direction, value, trial=1, **more):
    facts = {"dataset": dataset, "gallery": 2060, "mode": "all", "gallery_rule": "all", "direction": direction}
    return [sysu_rows(run, value - trial)[trial - 1] | facts | {"trial": trial, "shots": "all"} | more]


def keep(folder, rows, *words):
    """A run folder with these rows, and the configuration of the `words`."""
    folder.mkdir(parents=True)
    append_rows(folder / "results.csv", pd.DataFrame(rows))
    if words:
        from pipeline.config import to_yaml

        (folder / "config.yaml").write_text(to_yaml(load_config([*words])))
    return folder


def table_of(layout, *folders):
    rows, places = read_results(list(folders))
    return table_beside_literature(layout, summarise(rows), places)


def line(table, label):
    """(labels, shown, beside) of the row that begins with `label`."""
    (place,) = np.flatnonzero(table.labels.iloc[:, 0] == label)
    return table.labels.iloc[place].tolist(), table.shown.iloc[place].tolist(), table.beside.iloc[place].tolist()


# ---------------------------------------------------------------- literature


def test_the_literatures_figures_have_a_source_and_the_rows_of_the_paper():
    rows = {"sysu_mm01": 12, "regdb_visible2thermal": 11, "same_backbone": 3, "ablation": 6}
    assert {file.stem for file in FOLDER.glob("*.csv")} == set(rows)
    for name, count in rows.items():
        table = read_literature(name)
        assert len(table) == count and "table" in source_of(name) and "#" not in table.to_string()
        figures = table[[column for column in table if re.search("_?(r[0-9]+|map)$", column)]]
        values = figures.replace("", np.nan).astype(float)
        assert ((values > 10) & (values < 100) | values.isna()).all().all()
    ours = {"all_r1": "51.05", "all_map": "49.63", "indoor_r1": "55.93", "indoor_map": "63.38"}
    for name, method in (("sysu_mm01", "Base-Derivative"), ("same_backbone", "Base-Derivative")):
        table = read_literature(name)
        assert table[table["method"] == method][list(ours)].iloc[0].to_dict() == ours
    assert read_literature("ablation").iloc[-1][list(ours)].to_dict() == ours


# ---------------------------------------------------------------- layouts


def test_sysu_has_the_papers_columns_and_our_means_below_the_literature(tmp_path):
    table = table_of("sysu", keep(tmp_path / "ours", sysu_rows("ours")))
    assert table.shown.columns.tolist() == [
        (f"{mode}-search", name) for mode in PUBLISHED for name in ("r=1", "r=10", "r=20", "mAP")
    ]
    assert line(table, "D-HSME")[1] == ["20.68", "62.74", "77.95", "23.12", "", "", "", ""]
    labels, shown, beside = line(table, "ours")
    means = [
        statistics.mean(40 + t + 8 * place + five for t in range(1, 11)) for five in (0, 5) for place in (0, 2, 3, 4)
    ]
    assert shown == [f"{mean:.2f}" for mean in means] and labels == ["ours", "ours"]
    assert beside == [f"±{statistics.stdev(range(1, 11)):.2f}"] * 8
    assert table.rules == [12] and table.block == ["published"] * 13
    assert any("between 10 trials" in note for note in table.notes)


def test_another_gallery_than_the_published_is_marked_and_never_best_of_the_literature(tmp_path):
    small = keep(tmp_path / "small", sysu_rows("small", 45, sizes={"all": 60, "indoor": 20}))
    table = table_of("sysu", small)
    marks, _ = table.marks(), line(table, "small†")
    assert table.block[-1] != "published" and (marks.iloc[-1] == "").all(), "the best of one is no best"
    assert marks[("all-search", "r=1")][11] == BEST and marks[("all-search", "r=1")][8] == SECOND
    assert any("gallery (60 or 20 images)" in note for note in table.notes)


def test_an_option_stands_behind_the_name_and_rows_of_others_protocols_are_lines_of_their_own(tmp_path):
    rows = sysu_rows("a") + sysu_rows("a", flip=True) + sysu_rows("a", re_ranking="k_reciprocal(20,6,0.3)", value=1.0)
    rows += sysu_rows("a", metric="euclidean") + sysu_rows("b", gallery_rule="random_seed")
    names = table_of("sysu", keep(tmp_path / "a", rows)).labels.iloc[12:, 0].tolist()
    assert len(set(names)) == len(names) == 5
    assert "a (flip=True)" in names and "b (gallery_rule=random_seed)" in names
    assert "a (re_ranking=k_reciprocal(20,6,0.3))" in names and "a (metric=euclidean)" in "".join(names)


def test_regdb_is_the_mean_of_its_runs_in_the_papers_direction(tmp_path):
    runs = [
        keep(
            tmp_path / f"r-trial{trial}",
            other_rows("regdb", f"r-trial{trial}", "visible_to_infrared", 50.0 + 2 * trial, trial, recipe="12345678")
            + other_rows("regdb", f"r-trial{trial}", "infrared_to_visible", 5.0, trial, recipe="12345678"),
        )
        for trial in (1, 2, 4)
    ]
    table = table_of("regdb", *runs)
    labels, shown, beside = line(table, "r")
    assert shown[0] == f"{statistics.mean((52, 54, 58)):.2f}" and beside[0] == f"±{statistics.stdev((52, 54, 58)):.2f}"
    assert line(table, "AlignGAN")[1] == ["57.9", "", "", "53.6"]
    assert any("without the trials 3, 5, 6, 7, 8, 9, 10" in note for note in table.notes)


def test_llcm_shows_both_directions_and_says_that_there_is_no_literature(tmp_path):
    rows = other_rows("llcm", "l", "visible_to_infrared", 30.0, mode="paper", shots="single")
    rows += other_rows("llcm", "l", "infrared_to_visible", 35.0, mode="paper", shots="single")
    rows += other_rows("llcm", "l", "visible_to_infrared", 60.0, mode="repository", shots="single")
    table = table_of("llcm", keep(tmp_path / "l", rows))
    assert line(table, "l")[1][::4] == ["30.00", "35.00"] and line(table, "l (mode=repository)")[1][::4] == [
        "60.00",
        "",
    ]
    assert any("no figures of the literature" in note for note in table.notes)


ABLATION = {"b1": "B1", "b2": "B2"} | {f"mdl{n}": f"B2+MML+MDL{n}" for n in (1, 2, 3, 4)}


@pytest.mark.parametrize("name", ABLATION)
def test_the_ticks_of_a_configuration_are_those_of_its_row_in_the_paper(name):
    assert (
        ticks_of(load_config(["configs/sysu.yaml", f"configs/ablation/{name}.yaml"])) == ticks_by_row()[ABLATION[name]]
    )


def test_the_ablation_has_our_runs_below_the_rows_of_the_same_losses(tmp_path):
    folders = [
        keep(tmp_path / name, sysu_rows(name), "configs/sysu.yaml", f"configs/ablation/{name}.yaml")
        for name in ("mdl4", "b1")
    ]
    regdb = other_rows("regdb", "x-b1", "visible_to_infrared", 33.0)
    folders.append(keep(tmp_path / "x-b1", regdb, "configs/regdb.yaml", "configs/ablation/b1.yaml"))
    folders.append(keep(tmp_path / "pixels", sysu_rows("pixels", extractor="pixels")))
    pairs = "loss.cross_pairs=[[visible,visible_derived]]"
    folders.append(keep(tmp_path / "odd", sysu_rows("odd"), "configs/sysu.yaml", pairs))
    table = table_of("ablation", *folders)
    names = table.labels.iloc[:, 0].tolist()
    assert names[:2] == ["B1", "ours: b1, x-b1"] and names[-2:] == ["B2+MML+MDL4", "ours: mdl4"] and len(names) == 8
    ticks = table.labels.iloc[:, 1:]
    assert ticks.iloc[1].tolist() == ticks.iloc[0].tolist() == ["✓", "✓", "", "", "✓", "", "", "", "", ""]
    assert ticks.columns.tolist() == list(TICKS.values())
    assert line(table, "ours: b1, x-b1")[1][:3] == ["33.00", "65.00", "45.50"]
    left_out = [note for note in table.notes if "left out" in note]
    assert "pixels" in left_out[0] and "no column for visible, visible_derived" in left_out[1] and len(left_out) == 2


def test_the_same_backbone_has_our_baseline_below_the_papers(tmp_path):
    b2 = keep(tmp_path / "b2", sysu_rows("b2"), "configs/sysu.yaml", "configs/ablation/b2.yaml")
    names = table_of("same-backbone", b2).labels.iloc[:, 0].tolist()
    assert names == ["Baseline", "ours: b2", "AGW", "Base-Derivative"]


# ---------------------------------------------------------------- marks


def test_the_best_and_the_second_of_each_block_are_marked_as_a_loop_finds_them():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 6, (30, 4))
    blocks = [str(block) for block in generator.integers(0, 4, 30)] + ["alone"]
    shown = pd.DataFrame([*values.astype(str).tolist(), ["99", "", "1", "2"]]).replace("3", "")
    shown.columns = pd.MultiIndex.from_product([[""], list("abcd")])
    labels = pd.DataFrame({("", "run"): blocks})
    marks = Table("t", "", labels, shown, shown.map(lambda _: ""), blocks).marks()
    for row, column in np.ndindex(shown.shape):
        rivals = [
            float(shown.iloc[other, column])
            for other in range(len(blocks))
            if blocks[other] == blocks[row] and shown.iloc[other, column]
        ]
        better = {rival for rival in rivals if shown.iloc[row, column] and rival > float(shown.iloc[row, column])}
        expected = "" if not shown.iloc[row, column] or len(rivals) < 2 else [BEST, SECOND, *[""] * 9][len(better)]
        assert marks.iloc[row, column] == expected


# ---------------------------------------------------------------- formats


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
    for number, table in enumerate((strange, ablation, table_of_runs(summarise(pd.DataFrame(sysu_rows(STRANGE)))))):
        (tmp_path / f"{number}.tex").write_text(FORMATS["latex"][0](table))
    document = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,amssymb}\begin{document}"
    document += r"\input{0}\input{1}\input{2}\end{document}"
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").stat().st_size > 10000


# ---------------------------------------------------------------- the command


def test_all_layouts_are_written_and_those_without_rows_named(tmp_path, capsys):
    folder = keep(tmp_path / "b2", sysu_rows("b2"), "configs/sysu.yaml", "configs/ablation/b2.yaml")
    main([str(folder), "--layout", "all", "--format", "markdown", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    names = ("runs", "sysu", "same-backbone", "ablation")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {f"{name}.md" for name in names}
    assert "regdb is left out: expected rows of regdb" in printed and "llcm is left out" in printed
    assert all(str(tmp_path / "out" / f"{name}.md") in printed for name in names)


def test_the_plain_table_keeps_the_order_of_the_runs(tmp_path, capsys):
    folders = [keep(tmp_path / name, sysu_rows(name)) for name in ("z", "b")]
    main([str(folder) for folder in [*folders, folders[0]]])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "z", "z", "b", "b", "±"]


def test_what_cannot_be_tabulated_is_one_line(tmp_path, capsys):
    folder = keep(tmp_path / "a", sysu_rows("a"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "results.csv").touch()
    for words, message in (
        ([tmp_path / "none"], "none: no results.csv"),
        ([tmp_path / "empty"], "results.csv: is empty"),
        (
            [folder, "--layout", "regdb"],
            "--layout regdb: expected rows of regdb visible_to_infrared; the runs have none",
        ),
        ([folder, "--compare", folder], f"--compare {folder}: nothing to compare: give another run as well"),
    ):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and message in error and error.count("\n") == 1


def test_two_runs_of_one_name_are_called_by_their_folders_and_never_mixed(tmp_path):
    first, copy = (keep(tmp_path / place / "a", sysu_rows("a", recipe="1")) for place in "xy")
    rows, places = read_results([first, copy, first])
    assert places == {str(first): first, str(copy): copy} and len(rows) == 40
    means = summarise(rows)
    assert means["run"].tolist() == [str(first)] * 2 + [str(copy)] * 2 and (means["trials"] == 10).all()


def test_versions_of_the_code_are_averaged_only_where_it_is_asked_for(tmp_path, capsys):
    folders = [
        str(
            keep(
                tmp_path / f"a-seed{seed}",
                sysu_rows(f"a-seed{seed}", 40 + seed, seed, recipe="1", code_version=version),
            )
        )
        for seed, version in enumerate(("0.1+a", "0.1+b"))
    ]
    main(folders)
    assert "code_version differs: 0.1+a (a-seed0), 0.1+b (a-seed1)" in capsys.readouterr().out
    main([*folders, "--across-versions"])
    assert "between 2 seeds" in (printed := capsys.readouterr().out) and "46.00 ±0.71" in printed


# ---------------------------------------------------------------- differences


def judged(folder, run, precision, trials=(1, 2)):
    """A run folder of queries with these average precisions: (trial, query) -> value; two queries a person."""
    rows = [sysu_rows(run, evaluation="e1", seed=0)[trial - 1] for trial in trials]
    queries = [
        (trial, f"q{query}", query // 2, precision[number, query], 1 + int(precision[number, query] < 0.5), 0.5)
        for number, trial in enumerate(trials)
        for query in range(precision.shape[1])
    ]
    for number, row in enumerate(rows):
        row |= {"mAP": 100 * precision[number].mean(), "rank_1": 100 * (precision[number] >= 0.5).mean()}
    keep(folder, rows)
    write_queries(folder, {"e1": pd.DataFrame(queries, columns=COLUMNS)})
    return folder


def slow_interval(first, second, people, draws=4000):
    """Resamples whole people with all their queries, one draw after the other."""
    generator, values = np.random.default_rng(5), []
    for _ in range(draws):
        chosen = generator.choice(np.unique(people), len(np.unique(people)))
        queries = [query for person in chosen for query in np.flatnonzero(people == person)]
        values.append(statistics.mean(100 * (first[q] - second[q]) for q in queries))
    return np.percentile(values, [2.5, 97.5])


def test_the_interval_is_that_of_resampled_people_and_the_difference_that_of_the_table(tmp_path, capsys):
    generator = np.random.default_rng(0)
    a, b = generator.random((2, 40)), generator.random((2, 40)) * 0.7
    folders = [judged(tmp_path / "a", "a", a), judged(tmp_path / "b", "b", b)]
    rows, places = read_results(folders)
    both = [figures_by_query(rows[rows["run"] == run], places) for run in "ab"]
    mean, interval, people = difference(*both)
    means = summarise(rows)
    column = METRICS.index("mAP")
    assert people == 20 and mean[column] == pytest.approx(means["mAP"][0] - means["mAP"][1])
    assert mean[0] == pytest.approx(means["rank_1"][0] - means["rank_1"][1])
    expected = slow_interval(a.mean(axis=0), b.mean(axis=0), np.arange(40) // 2)
    np.testing.assert_allclose(interval[column], expected, atol=0.5)
    main([str(folders[0]), "--compare", str(folders[1])])
    printed = capsys.readouterr().out
    assert f"{mean[column]:+.2f} [{interval[column][0]:+.2f}, {interval[column][1]:+.2f}]" in printed
    assert "over the 20 people of the queries" in printed


def test_without_figures_by_query_or_with_others_there_is_no_interval_and_it_is_said(tmp_path, capsys):
    generator = np.random.default_rng(0)
    a = judged(tmp_path / "a", "a", generator.random((2, 8)))
    few = judged(tmp_path / "few", "few", generator.random((2, 6)))
    without = keep(tmp_path / "without", sysu_rows("without"))
    for other, message in ((few, "their queries aren't the same"), (without, "without: no figures by query; `python")):
        with pytest.raises(SystemExit):
            main([str(other), "--compare", str(a)])
        assert message in capsys.readouterr().err
