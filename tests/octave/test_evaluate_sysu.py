"""The official protocol of SYSU-MM01 by a program that shares no line with ours: tests/octave/evaluate_sysu.m."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import evaluate
from pipeline.evaluation.feature_files import save_features
from pipeline.settings import DataSettings
from pipeline.synthetic.generation import generate
from tests.datasets.reading import read_index

SCRIPT = Path(__file__).with_name("evaluate_sysu.m")
METRIC_NAMES = ["queries", "rank_1", "rank_5", "rank_10", "rank_20", "mAP", "mINP"]

PEOPLE = 24
COUNTS = (0, 1, 2, 3, 11, 12)  # images of a person in a camera: none, fewer and more than a multi-shot gallery takes


def write_shape(path):
    draw = np.random.default_rng(1).choice(COUNTS, (PEOPLE, 6))
    draw[:, 2] = np.maximum(draw[:, 2], 1)  # a query of camera 3 for everybody,
    draw[0] = (0, 5, 4, 0, 3, 2)  # which for the first finds nothing indoors: only camera 2, in the same place
    lines = ["id,split,cam1,cam2,cam3,cam4,cam5,cam6", "1,train,1,1,1,1,1,1", "3,val,0,0,0,1,1,1"]
    lines += [f"{2 * number + 4},test,{','.join(map(str, counts))}" for number, counts in enumerate(draw)]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("octave")
    write_shape(folder / "shape.csv")
    generate("sysu", folder / "set", shape=folder / "shape.csv", workers=1)
    return folder / "set"


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_octave_finds_the_same_metrics(root, metric, tmp_path):
    if not shutil.which("octave-cli"):
        pytest.skip("needs octave-cli (apt-get install --no-install-recommends octave)")
    index = read_index("sysu", root)
    draw = np.random.default_rng(0)
    # noise hides the person enough for figures between 0 and 100
    features = draw.normal(size=(2 * PEOPLE + 4, 16))[index["identity"]] + 2 * draw.normal(size=(len(index), 16))
    tested = np.flatnonzero(index["split"] == "test")
    save_features(tmp_path / "drawn.mat", torch.from_numpy(features), index, tested, DataSettings(root=str(root)), {})
    arguments = [
        "--features",
        str(tmp_path),
        "--dataset",
        "sysu",
        "--root",
        str(root),
        f"output={tmp_path}",
        "name=ours",
    ]
    evaluate.main([*arguments, "evaluation.shots=[single,multi]", f"evaluation.metric={metric}"])
    files = [tmp_path / "drawn", root / "exp" / "test_id.mat", root / "exp" / "rand_perm_cam.mat"]
    output = tmp_path / "octave.csv"
    subprocess.run(["octave-cli", SCRIPT, *files, metric, output], check=True, timeout=300)

    keys = ["mode", "shots", "trial"]
    ours = pd.read_csv(tmp_path / "ours" / "results.csv").set_index(keys)
    theirs = pd.read_csv(output).set_index(keys)
    assert len(theirs) == 40 and (ours["gallery_rule"] == "official").all()
    pd.testing.assert_frame_equal(
        ours.loc[theirs.index, METRIC_NAMES], theirs[METRIC_NAMES], check_dtype=False, rtol=0, atol=1e-9
    )
    assert ours["mAP"].between(5, 95).all() and ours["rank_10"].nunique() > 5
