"""The report: what stands in it, what is left out and why, and how a browser shows it."""

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from pipeline import train
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.results import read_rows
from pipeline.figures.evaluated_run import evaluate_run
from pipeline.report.__main__ import main
from pipeline.report.evaluated import confusion_table, confusions, made_images
from pipeline.report.facts import environment_rows, hardest_queries, settings_rows
from pipeline.report.page import result_tables
from pipeline.run.folder import sheet_path
from tests.tables.rows import keep, sysu_rows

STRANGE = "<script>alert(1) & 'it's"
WAYS = ("visible to infrared", "infrared to visible")


@pytest.fixture(scope="module")
def run(people, tiny, tmp_path_factory):
    """The folder of a finished run on `people`, with a name that HTML could take for its own."""
    output, before = tmp_path_factory.mktemp("runs"), dict(os.environ)
    short = ["train.epochs=2", "train.steps_per_epoch=2", f"output={output}", f"data.root={people}"]
    train.main(["configs/folder.yaml", *tiny, *short, "name=plain"])
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(before)
    return (output / "plain").rename(output / STRANGE)


@pytest.fixture(scope="module")
def page(run):
    """The report of that run and of another that has its results only."""
    other = run.parent / "results only"
    other.mkdir()
    rows = read_rows(run / "results.csv").assign(run="results only", code_version="<script>alert(2)</script>")
    rows.to_csv(other / "results.csv", index=False)
    main([str(run), str(other), "--out", str(run.parent / "made" / "report.html")])
    AcceleratorState._reset_state(reset_partial_state=True)
    return run.parent / "made" / "report.html"


class Page(HTMLParser):
    """tags: (name, attributes) of all elements; text: all that is to be read; headings and what they stand above."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.text, self.headings, self.stack = [], "", [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "meta", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, "elements are closed in the order they were opened"

    def handle_data(self, data):
        if self.stack and self.stack[-1] in ("h2", "h3"):
            self.headings.append(data)
        if not self.stack or self.stack[-1] != "style":
            self.text += data


def test_the_page_has_everything_of_a_finished_run(page, run):
    parsed = Page(page.read_text())
    assert not parsed.stack
    images = {attributes["alt"] for tag, attributes in parsed.tags if tag == "img"}
    lists = {f"ranked lists {which} {way}" for which in ("hardest", "random") for way in WAYS}
    assert images == {"training", "CMC", "batch", "distances", "t-SNE", "activation", *lists}
    for heading in ("Results", "Curves", STRANGE, "results only", "Settings that differ from the paper's recipe"):
        assert heading in parsed.headings, heading
    for way in WAYS:
        way = way.replace(" ", "_")
        assert f"Hardest queries: folder all all {way}" in parsed.headings
        assert f"People confused most often: {way}" in parsed.headings
    for _, row in read_rows(run / "results.csv").iterrows():
        assert f"{row['mAP']:.2f}" in parsed.text
    version = torch.__version__.split("+")[0]
    for name, value in (("model.backbone", '"test_resnet"'), ("python", ""), ("torch", version)):
        assert name in parsed.text and value in parsed.text


def test_nothing_of_the_data_is_taken_for_html_and_nothing_is_fetched(page):
    content = page.read_text()
    parsed = Page(content)
    assert STRANGE in parsed.text and "<script>alert(2)</script>" in parsed.text
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("data:image/png;base64,", "#"))
    style = re.search("<style>(.*?)</style>", content, re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style


def test_what_only_has_results_says_what_is_left_out(page):
    text = Page(page.read_text()).text
    for sentence in (
        "The settings are left out: ",
        "env.json: no such file",
        "Batch: left out: without config.yaml there was no training",
        "ranked lists, distances, t-SNE, activation and confusions are left out: ",
        "The comparison is left out: ",
        "results only: no metrics by query",
        "The training curve of results only is left out: metrics.csv isn't there",
    ):
        assert sentence in text, sentence


def test_corrupted_images_have_a_table_of_their_own(tmp_path):
    kinds = {"none": 40.0, "fog": 20.0}
    rows = [row for kind, value in kinds.items() for row in sysu_rows("a", value, corruption=kind)]
    tables, _ = result_tables([keep(tmp_path / "a", rows)])
    assert "fog" in str(tables["Corrupted images"][0]) and "fog" not in str(tables["Results"][0])
    tables, _ = result_tables([keep(tmp_path / "b", sysu_rows("b"))])
    assert "Corrupted images" not in tables


def test_two_finished_runs_are_compared_with_the_first(run, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / name, ignore=shutil.ignore_patterns("checkpoints"))
        rows = read_rows(run / "results.csv")
        rows.assign(run=name).to_csv(tmp_path / name / "results.csv", index=False)
    config = (tmp_path / "two" / "config.yaml").read_text()
    (tmp_path / "two" / "config.yaml").write_text(config.replace("log_steps: 1", "log_steps: 7"))
    main([str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "r.html")])
    parsed = Page((tmp_path / "r.html").read_text())
    assert {"Comparison", "Settings in which the runs differ"} <= set(parsed.headings)
    assert "+0.00 [+0.00, +0.00]" in re.sub(r"\s+", " ", parsed.text) and "train.log_steps" in parsed.text


def test_without_the_data_or_anything_at_all_the_page_is_made_and_says_so(run, people, tmp_path):
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    shutil.copytree(run, gone, ignore=shutil.ignore_patterns("checkpoints"))
    config = (gone / "config.yaml").read_text()
    (gone / "config.yaml").write_text(config.replace(str(people), str(tmp_path / "nowhere")))
    (gone / "results.csv").write_text((gone / "results.csv").read_text().replace("all,all", "all", 1))
    empty.mkdir()
    (empty / "env.json").write_text("{cut off")
    main([str(gone), str(empty), "--out", str(tmp_path / "r.html")])
    parsed = Page((tmp_path / "r.html").read_text())
    assert {attributes["alt"] for tag, attributes in parsed.tags if tag == "img"} == {"training"}
    for sentence in (
        f"{tmp_path / 'nowhere'}: ",
        "results.csv, line 2: expected ",
        f"{empty}: no results.csv",
        "The environment is left out: ",
        "CMC curves are left out: no run could be evaluated here",
    ):
        assert sentence in parsed.text, sentence


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none"), "--out", str(tmp_path / "r.html")])
    assert "none: expected the folder of a run; found none" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


# ---------------------------------------------------------------- what is counted


def test_the_confusions_are_those_of_a_loop_over_the_queries(run):
    evaluated = evaluate_run([str(run)])
    identity, names = evaluated.index["identity"].to_numpy(), evaluated.index["name"].to_numpy()
    for way, table in confusions(evaluated).items():
        (trial,) = [trial for trial in evaluated.trials if trial.fields["direction"] == way]
        distances_of = DISTANCES["cosine"](evaluated.features[torch.from_numpy(trial.gallery)])
        pairs, asked = Counter(), Counter()
        for query in trial.query:
            distances = distances_of(evaluated.features[query : query + 1])[0].tolist()
            found = trial.gallery[distances.index(min(distances))]
            asked[names[query]] += 1
            if identity[found] != identity[query]:
                pairs[names[query], names[found]] += 1
        assert table["times"].astype(int).tolist() == sorted(pairs.values(), reverse=True)[:10]
        for line in table.itertuples(index=False):
            assert pairs[line[0], line[1]] == int(line.times) and asked[line[0]] == int(line.of)


def test_no_identity_is_confused_with_itself():
    table = confusion_table(Counter({(1, 1): 9, (2, 1): 3, (1, 2): 3}), Counter({1: 12, 2: 3}), {1: "x", 2: "y"})
    assert table.to_numpy().tolist() == [["x", "y", "3", "12"], ["y", "x", "3", "3"]]


def test_the_hardest_queries_are_those_with_the_least_average_precision(run):
    rows = read_rows(run / "results.csv")
    hardest = hardest_queries(run, rows)
    for (heading, table), (_, row) in zip(hardest.items(), rows.iterrows(), strict=True):
        queries = pd.read_parquet(run / "queries" / f"{row['evaluation']}.parquet")
        expected = sorted(100 * queries["average_precision"])[:10]
        assert row["direction"] in heading and table["AP"].tolist() == [f"{value:.2f}" for value in expected]
        for line in table.itertuples(index=False):
            (own,) = queries[queries["query"] == line.query].itertuples()
            assert f"{100 * own.average_precision:.2f}" == line.AP and str(own.identity) == line.person
    assert hardest_queries(run, rows.assign(evaluation="")) == {}


def test_settings_and_environment_are_those_of_the_files(run, tmp_path):
    changed, settings = map(dict, settings_rows(run))
    assert changed.items() <= settings.items() and len(changed) < len(settings)
    assert (
        settings["losses.intra.margin"] == "0.3"
        and "losses.intra.margin" not in changed
        and changed["train.epochs"] == "2"
    )
    (written,) = json.loads((run / "env.json").read_text())
    environment = dict(environment_rows(run))
    assert environment["python"] == written["python"] and environment["torch"] == written["packages"]["torch"]
    starts = [{"python": "3.11", "host": host, "packages": {"torch": "2"}} for host in ("a", "b", "a", "c", "d")]
    (tmp_path / "env.json").write_text(json.dumps(starts))
    said = [("starts", "5"), ("python", "3.11"), ("host", "a, then 2 others, then d"), ("torch", "2")]
    assert environment_rows(tmp_path) == said
    (tmp_path / "env.json").write_text("[1]")
    with pytest.raises(ValueError, match="expected names with values; found int"):
        environment_rows(tmp_path)


# ---------------------------------------------------------------- a browser

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MEASURE = """<script>addEventListener("load", () => parent.postMessage({
  width: innerWidth, shown: document.documentElement.clientWidth, needed: document.documentElement.scrollWidth,
  images: document.images.length, broken: [...document.images].filter(image => !image.naturalWidth).length,
  paper: getComputedStyle(document.body).backgroundColor}, "*"))</script>"""
FRAMES = """<!doctype html><body style="margin:0"><script>addEventListener("message", event =>
  document.body.append(JSON.stringify(event.data) + "\\n"))</script>
<iframe style="width:390px;height:800px;border:0" src="page.html"></iframe>
<iframe style="width:1280px;height:800px;border:0" src="page.html"></iframe>"""


def browse(address, folder, *options):
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([*command, *options, address], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_every_image_and_no_page_is_wider_than_a_phone(page, tmp_path, scheme):
    (tmp_path / "page.html").write_text(page.read_text().replace("</head>", f"{MEASURE}</head>"))
    (tmp_path / "frames.html").write_text(FRAMES)
    preferred = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    address, waiting = f"file://{tmp_path / 'frames.html'}", "--virtual-time-budget=20000"
    dom = browse(address, tmp_path, "--dump-dom", waiting, preferred)
    measured = [json.loads(found) for found in re.findall(r"\{\"width.*?\}", dom)]
    assert sorted(found["width"] for found in measured) == [390, 1280]
    for found in measured:
        assert found["needed"] == found["shown"] and found["broken"] == 0 and found["images"] == 10
        levels = [int(level) for level in re.findall(r"\d+", found["paper"])]
        assert max(levels) < 60 if scheme == "dark" else min(levels) > 240
    image = tmp_path / "image.png"
    browse(f"file://{page}", tmp_path, f"--screenshot={image}", "--window-size=900,1200", preferred)
    with Image.open(image) as shown:
        levels = np.asarray(shown.convert("L"))
    assert (np.median(levels) < 60) == (scheme == "dark") and levels.std() > 5


def test_the_first_and_the_last_sheet_of_a_method_that_makes_images_are_shown(tmp_path):
    assert made_images(tmp_path) == []
    (tmp_path / "images").mkdir()
    for step in (40, 80, 1200):
        Image.new("RGB", (30, 20)).save(sheet_path(tmp_path, step))
    assert [(image.title, bool(image.address)) for image in made_images(tmp_path)] == [
        ("after step 40", True),
        ("after step 1200", True),
    ]
