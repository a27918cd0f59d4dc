"""The calls of notebooks: what they return is what the commands compute."""

import numpy as np
import pytest
import torch

from pipeline import train
from pipeline.api import load_run, search
from pipeline.batch import Modality
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.session import evaluate, open_session


@pytest.fixture(scope="module")
def run_folder(people, tiny, tmp_path_factory):
    output = tmp_path_factory.mktemp("api")
    short = ["train.epochs=1", "train.steps_per_epoch=2", f"data.root={people}", f"output={output}", "name=run"]
    train.main(["configs/folder.yaml", *tiny, *short])
    return output / "run"


@pytest.mark.parametrize("overrides", [[], ["evaluation.flip=true", "evaluation.fusion=mean"]])
def test_images_are_embedded_as_the_command_evaluates_them(run_folder, overrides):
    evaluation = evaluate(open_session([str(run_folder), *overrides]))
    rows, index = evaluation.rows, evaluation.session.index
    run = load_run(run_folder, *overrides)
    for modality in (Modality.VISIBLE, Modality.INFRARED):
        own = index["modality"].to_numpy()[rows] == int(modality)
        found = run.embed(index["path"].to_numpy()[rows[own]], modality.key)
        torch.testing.assert_close(found, evaluation.features[torch.from_numpy(own)], rtol=1e-5, atol=1e-6)


def test_images_are_embedded_as_they_are_where_tests_corrupt_them(run_folder, people):
    image = next((people / "visible").rglob("*.jpg"))
    plain, foggy = (load_run(run_folder, f"evaluation.corruption={kind}") for kind in ("none", "fog"))
    assert torch.equal(foggy.embed(image, "visible"), plain.embed(image, "visible"))


def test_one_image_is_a_row(run_folder, people):
    image = next((people / "infrared").rglob("*.jpg"))
    found = load_run(run_folder).embed(image, "infrared")
    assert found.shape == (1, 96) and found.dtype == torch.float32 and found.isfinite().all()


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "dot"])
def test_search_is_a_sort_of_all_distances(metric):
    generator = np.random.default_rng(0)
    query, gallery = (torch.from_numpy(generator.normal(size=(rows, 8))).float() for rows in (300, 40))
    distances, places = search(query, gallery, k=7, metric=metric)
    whole = DISTANCES[metric](gallery)(query)
    expected = whole.sort(dim=1)
    torch.testing.assert_close(distances, expected.values[:, :7])
    assert torch.equal(places, expected.indices[:, :7]) and distances.dtype == torch.float32


def test_mistakes_are_one_line(run_folder, tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a trained run; found none"):
        load_run(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"optimizer\.lr=1: a trained run is evaluated with"):
        load_run(run_folder, "optimizer.lr=1")
    run = load_run(run_folder)
    with pytest.raises(ValueError, match="modality: expected visible or infrared; found 'thermal'"):
        run.embed(["x.jpg"], "thermal")
    with pytest.raises(ValueError, match="images: expected one path or more; found none"):
        run.embed([], "visible")
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.jpg: cannot be read as an image"):
        run.embed(tmp_path / "bad.jpg", "visible")


@pytest.mark.parametrize(
    ("query", "k", "metric", "message"),
    [
        (torch.ones(2, 3), 1, "cosine", r"expected \(Q, D\) and \(G, D\); found \(2, 3\) and \(5, 4\)"),
        (torch.ones(2, 4), 6, "cosine", "k: expected a number from 1 to 5, the size of the gallery; found 6"),
        (torch.ones(2, 4), 0, "cosine", "k: expected a number from 1 to 5"),
        (torch.full((2, 4), torch.nan), 1, "cosine", "query features: 2 of 2 rows hold values that aren't finite"),
        (torch.ones(2, 4), 1, "manhattan", "metric: expected one of cosine, euclidean, dot; found 'manhattan'"),
    ],
)
def test_what_cannot_be_searched(query, k, metric, message):
    with pytest.raises(ValueError, match=message):
        search(query, torch.ones(5, 4), k=k, metric=metric)
