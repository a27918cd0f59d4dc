"""Games by the real entry point: in every stage a training that is killed ends, resumed, as one that wasn't."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pipeline import train, translate
from pipeline.batch import Modality
from pipeline.build import build_divided_index
from pipeline.config import load_config
from pipeline.evaluation.results import METRICS, read_rows
from pipeline.translate import TranslatingRun
from tests.end_to_end.runs import refusal, weights
from tests.methods.games import SIZES, short_training, stages_of

STEPS = 2  # of a stage


@pytest.fixture(scope="module")
def whole(people, tmp_path_factory, hidden_gpus):
    """Name of a game -> its arguments, and the folder of a training that nothing interrupted."""
    made = {}

    def run(name):
        if name not in made:
            output = tmp_path_factory.mktemp(name)
            arguments = short_training(name, people, output, STEPS)
            arguments += ["train.checkpoint_steps=1", "train.keep_checkpoints=100"]
            with hidden_gpus():
                train.main([*arguments, "name=whole", "train.image_steps=1"])
            made[name] = arguments, output / "whole"
        return made[name]

    return run


@pytest.mark.parametrize("name", SIZES)
def test_a_game_is_trained_in_its_stages_evaluated_and_shown(name, whole):
    arguments, folder = whole(name)
    logged, method = pd.read_csv(folder / "metrics.csv"), load_config(arguments).method
    steps = [*range(1, STEPS * len(method.stages) + 1)]
    assert logged["step"].tolist() == steps
    assert np.isfinite(logged[["loss", "gradient_norm", "lr"]]).all(axis=None)
    assert logged.notna().any().all()  # no column of nothing
    rows = read_rows(folder / "results.csv")
    assert len(rows) == 2 and rows[METRICS].notna().all(axis=None)
    assert set(rows["method"]) == {method.name} and set(rows["method_source"]) == {method.source}
    sheets = sorted((folder / "images").glob("*.png"))
    assert [int(path.stem.removeprefix("step-")) for path in sheets] == steps
    assert len({Image.open(path).tobytes() for path in sheets}) > 1  # the networks have learned something


@pytest.mark.parametrize(("name", "stage"), [(name, stage) for name in SIZES for stage in range(stages_of(name))])
def test_a_game_killed_in_any_stage_is_resumed_to_the_same_bits(name, stage, whole, assert_equal):
    """Without sheets, which therefore change nothing either."""
    arguments, folder = whole(name)
    killed = folder.with_name(f"killed-{stage}")
    shutil.copytree(folder, killed)
    for path in (killed / "finished", killed / "model.safetensors", killed / "results.csv"):
        path.unlink()
    for checkpoint in sorted((killed / "checkpoints").glob("step-*"))[STEPS * stage + 1 :]:
        shutil.rmtree(checkpoint)
    train.main([*arguments, f"name={killed.name}", "train.image_steps=1000"])
    assert_equal(weights(killed), weights(folder))
    before, after = (pd.read_csv(path / "metrics.csv") for path in (folder, killed))
    timed = ["images_per_second", "waiting_for_data"]
    pd.testing.assert_frame_equal(before.drop(columns=timed), after.drop(columns=timed))


@pytest.mark.parametrize("name", SIZES)
def test_a_game_goes_on_with_what_changes_how_it_is_computed(name, people, tmp_path, caplog):
    """In bfloat16, with an average of the weights, validations, frozen norms, and an image that can't be decoded."""
    shutil.copytree(people, copied := tmp_path / "people")
    ways = ["train.precision=bf16", "train.ema=0.9", "validation.every_epochs=1", "validation.identities=0.2"]
    ways += ["train.norm=frozen", "loader.on_corrupt_image=replace", "train.checkpoint_steps=2", "name=run"]
    arguments = [*short_training(name, copied, tmp_path), *ways, "data.test_fraction=0.3"]
    index = build_divided_index(load_config(arguments))
    Path(index[index["split"] == "train"]["path"].iloc[0]).write_bytes(b"no image")  # which a sheet would show
    train.main(arguments)
    logged = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert np.isfinite(logged[["loss", "gradient_norm"]]).all(axis=None) and logged["val_mAP"].notna().any()
    assert len([*(tmp_path / "run" / "images").glob("*.png")]) == len(logged)
    assert sum("cannot be read as an image" in record.getMessage() for record in caplog.records) <= 1


@pytest.fixture()
def photos(tmp_path):
    """A folder of images of two sizes, in two formats, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "day").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 40, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "day" / "one.png")
    Image.fromarray(pixels[:50]).save(folder / "two.jpg")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def test_a_folder_is_translated_under_the_same_names_in_the_same_sizes(whole, photos, tmp_path, caplog, capsys):
    _, run = whole("aligngan")
    out = tmp_path / "made"
    translate.main([str(run), str(photos), "--out", str(out)])
    assert capsys.readouterr().out == f"{out}: 2 images of {photos}, translated from visible\n"
    assert "broken.jpg: left out: " in caplog.text
    found = {str(path.relative_to(out)): Image.open(path) for path in sorted(out.rglob("*.*"))}
    assert {name: (image.format, image.size) for name, image in found.items()} == {
        "day/one.png": ("PNG", (40, 90)),
        "two.jpg": ("JPEG", (40, 50)),
    }
    translate.main([str(run), str(photos), "--out", str(out), "--size=network", "--checkpoint=1"])
    assert {Image.open(path).size for path in out.rglob("*.*")} == {(32, 64)}


def test_a_translation_is_what_the_network_makes(whole, photos, tmp_path):
    _, run = whole("aligngan")
    translate.main([str(run), str(photos), "--out", str(tmp_path), "--size=network", "--modality=infrared"])
    loaded = TranslatingRun.load(run, None)
    (images,) = loaded.load_images([photos / "day" / "one.png"], Modality.INFRARED)
    network, pixels = loaded.method.to_visible, loaded.method.pixels
    with torch.no_grad():
        expected = (network(pixels.signed(images))[0] + 1) / 2
    found = torch.from_numpy(np.asarray(Image.open(tmp_path / "day" / "one.png")) / 255.0).permute(2, 0, 1)
    assert (found - expected).abs().max() <= 0.5001 / 255


def test_what_cannot_be_translated_is_said_in_one_line(whole, photos, tmp_path, capsys, people):
    _, run = whole("aligngan")
    inside = refusal(translate.main, [run, photos, "--out", photos / "made"], capsys)
    assert f"--out: expected a folder outside of {photos}" in inside
    (photos / "photos").mkdir()
    shutil.copy(photos / "two.jpg", photos / "photos")
    over = refusal(translate.main, [run, photos, "--out", photos.parent], capsys)
    assert f"--out: expected a folder whose images aren't those of {photos}" in over
    assert "expected a folder of images; found none" in refusal(translate.main, [run, "nowhere", "--out", "x"], capsys)
    (tmp_path / "empty").mkdir()
    assert "expected images (.jpg" in refusal(
        translate.main, [run, tmp_path / "empty", "--out", tmp_path / "x"], capsys
    )
    assert "expected a run, with config.yaml" in refusal(translate.main, [people, photos, "--out", "x"], capsys)
    missing = refusal(translate.main, [run, photos, "--out", tmp_path / "x", "--checkpoint=77"], capsys)
    assert "checkpoint: expected a step that" in missing
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0\n")
    assert "its method, base_derivative, makes no images" in refusal(
        translate.main, [tmp_path / "run", photos, "--out", tmp_path / "x"], capsys
    )
