"""The rows of results, features from files, and errors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator

from pipeline import evaluate, prepare, train
from pipeline.batch import Modality
from pipeline.build import build_index
from pipeline.config import load_config
from pipeline.datasets.pack import relative_paths
from pipeline.evaluation.evaluator import row_context
from pipeline.evaluation.features import extract_features, network_extractor
from pipeline.evaluation.from_files import settings_for_features
from pipeline.evaluation.model_info import ModelInfo
from pipeline.evaluation.results import LABELS, METRICS, read_rows
from pipeline.loading.batches import evaluation_batches
from pipeline.loading.derivations import parse_stages
from pipeline.loading.images import FolderImages
from pipeline.methods.network import build_network
from pipeline.synthetic.generation import generate

LEARNED = ["derive.visible=learned", "derive.infrared=learned", "model.stems=modality"]


@pytest.fixture
def arguments(people, tiny, tmp_path):
    return ["configs/folder.yaml", *tiny, f"data.root={people}", f"output={tmp_path}"]


def rows_of(tmp_path, name):
    return read_rows(tmp_path / name / "results.csv")


def refusal(main, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    return error


# ---------------------------------------------------------------- features from files


def test_saved_features_give_the_same_metrics(arguments, people, tmp_path):
    saved = tmp_path / "kept" / "features.npz"
    evaluate.main([*arguments, "name=first", "evaluation.flip=true", "--save-features", str(saved)])
    with pytest.raises(SystemExit):
        prepare.main(["--dataset", "folder", "--root", str(people), "--pack", str(tmp_path / "packs")])
    index = build_index(load_config(arguments).data)
    index.assign(path=relative_paths(index, people)).to_csv(tmp_path / "index.csv", index=False)
    first = rows_of(tmp_path, "first")
    same = ["direction", "trial", "queries", "gallery", "feature", "flip", "precision", "epoch", "config"]
    same += [*LABELS, *METRICS]
    for name, place in (
        ("folder", ["--root", people]),
        ("packed", ["--root", tmp_path / "packs"]),
        ("listed", ["--index", tmp_path / "index.csv"]),
    ):
        options = ["--features", saved, "--dataset", "folder", *place, f"output={tmp_path}", f"name={name}"]
        evaluate.main([str(option) for option in options])
        again = rows_of(tmp_path, name)
        pd.testing.assert_frame_equal(again[same], first[same])
        assert (again["run"] == f"features:{saved}").all() and (again["test_set"] == first["test_set"]).all()
    with np.load(saved) as arrays:
        tested = index[index["split"] == "test"]
        assert arrays["path"].tolist() == relative_paths(tested, people)
        assert arrays["index"].tolist() == tested.index.tolist() and len(arrays["features"]) == len(tested)


def test_features_from_anywhere_say_that_their_origin_is_unknown(people, tmp_path, capsys):
    index = build_index(load_config(["data.dataset=folder", f"data.root={people}"]).data)
    perfect = np.eye(99, dtype=np.float32)[index["identity"]]
    np.savez(tmp_path / "perfect.npz", features=perfect, path=relative_paths(index, people))
    options = ["--features", str(tmp_path / "perfect.npz"), "--dataset", "folder", "--root", str(people)]
    evaluate.main([*options, f"output={tmp_path}", "evaluation.metric=euclidean"])
    rows = rows_of(tmp_path, "features-perfect")
    assert (rows[METRICS] == 100).all().all() and (rows["metric"] == "euclidean").all()
    for name in (
        *LABELS,
        "extractor",
        "feature",
        "similarity",
        "flip",
        "fusion",
        "precision",
        "selection",
        "epoch",
        "seed",
        "config",
        "recipe",
    ):
        assert (rows[name] == "unknown").all(), name
    assert f"features:{tmp_path / 'perfect.npz'}"[:40] in capsys.readouterr().out


def test_the_official_matlab_files_of_a_run_give_its_metrics(tiny, tmp_path):
    generate("sysu", tmp_path / "set", identities=10, images_per_camera=2, workers=1)
    sysu = [*(argument for argument in tiny if not argument.startswith("data.")), f"data.root={tmp_path / 'set'}"]
    saved = tmp_path / "mat" / "net.mat"
    evaluate.main(["configs/sysu.yaml", *sysu, f"output={tmp_path}", "name=first", "--save-features", str(saved)])
    options = ["--features", str(saved.parent), "--dataset", "sysu", "--root", str(tmp_path / "set")]
    evaluate.main([*options, f"output={tmp_path}", "name=again"])
    first, again = rows_of(tmp_path, "first"), rows_of(tmp_path, "again")
    same = ["mode", "shots", "trial", "gallery_rule", "test_set", *METRICS]
    pd.testing.assert_frame_equal(again[same], first[same])
    assert len(first) == 20 and (first["gallery_rule"] == "official").all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--features", "f.npz"], "expected --dataset NAME with --root DIR or --index CSV, or a configuration file"),
        (["--features", "f.npz", "--dataset", "sisu"], "sisu"),
        (["--features", "f.npz", "--dataset", "folder", "evaluation.flip=true"], "evaluation.flip=true: says how"),
        (
            ["--features", "f.npz", "--dataset", "folder", "--evaluation.fusion=mean"],
            "evaluation.fusion=mean: says how",
        ),
        (["tests", "--features", "f.npz"], "tests: expected no run with --features"),
        (
            ["--features", "mat", "--dataset", "regdb"],
            "mat: expected features of regdb as NAME.npz (.mat files are SYSU-MM01's)",
        ),
        (["--features", "f.npz", "--save-features", "g.npz"], "--save-features: writes what a network extracts"),
        (["--dataset", "folder", "--index", "i.csv"], "--index: lists the images of --features"),
        (["--features", "f.npz", "--dataset", "folder", "--index", "i.csv"], "i.csv: no such file"),
        (["--features", "f.npz", "--dataset", "folder", "evaluation.metrik=x"], "unknown key evaluation.metrik"),
        (["--frob"], "unrecognized arguments: --frob; `python -m pipeline.evaluate --help` explains"),
    ],
)
def test_impossible_arguments_are_one_line(arguments, message, capsys):
    assert message in refusal(evaluate.main, arguments, capsys)


def test_a_configuration_with_an_equals_sign_says_of_which_data_set_features_are(tmp_path):
    file = tmp_path / "lr=0.1" / "a.yaml"
    file.parent.mkdir()
    file.write_text("data: {dataset: regdb}\n")
    assert settings_for_features([str(file)], Path("f.npz"), None).data.dataset == "regdb"


def test_where_features_are_saved_is_checked_before_they_are_extracted(arguments, capsys, tmp_path):
    message = refusal(evaluate.main, [*arguments, "name=x", "--save-features", tmp_path / "f.mat"], capsys)
    assert "(.mat files are SYSU-MM01's)" in message


def test_a_metric_that_a_re_ranking_cannot_be_of_is_refused_before_features_are_extracted(arguments, capsys):
    words = ["name=x", "evaluation.re_ranking=aim", "evaluation.metric=euclidean"]
    message = refusal(evaluate.main, [*arguments, *words], capsys)
    assert "evaluation.metric: expected cosine for re_ranking=aim; found euclidean" in message


def test_an_argument_with_dashes_is_still_a_setting(arguments, tmp_path):
    evaluate.main([*arguments, "name=x", "--evaluation.extractor=pixels", "--evaluation.metric=euclidean"])
    assert (rows_of(tmp_path, "x")["metric"] == "euclidean").all()


# ---------------------------------------------------------------- options


OPTIONS = {
    "feature": (["evaluation.feature=pooled"], "embedding", "pooled"),
    "similarity": (["evaluation.similarity=summed"], "whole", "summed"),
    "metric": (["evaluation.metric=euclidean"], "cosine", "euclidean"),
    "flip": (["evaluation.flip=true"], False, True),
    "fusion": (["evaluation.fusion=mean"], "none", "mean"),
    "re_ranking": (["evaluation.re_ranking=k_reciprocal"], "none", "k_reciprocal(20,6,0.3)"),
    "precision": (["train.precision=bf16"], "fp32", "bf16"),
}


@pytest.fixture(scope="module")
def without(people, tiny, tmp_path_factory):
    """Rows of a network evaluated with no option."""
    folder = tmp_path_factory.mktemp("without")
    evaluate.main(["configs/folder.yaml", *tiny, *LEARNED, f"data.root={people}", f"output={folder}", "name=without"])
    return rows_of(folder, "without")


@pytest.mark.parametrize("column", OPTIONS)
def test_an_option_changes_the_metrics_and_is_in_the_row(arguments, without, column, tmp_path):
    more, off, on = OPTIONS[column]
    evaluate.main([*arguments, *LEARNED, "name=with", *more])
    found = rows_of(tmp_path, "with")
    assert (without[column] == str(off)).all() and (found[column] == str(on)).all()
    others = [name for name in without if name not in (*METRICS, column, "run", "config", "recipe", "evaluation")]
    pd.testing.assert_frame_equal(without[others], found[others])
    if column == "similarity":  # of one feature alone there is nothing to sum
        np.testing.assert_allclose(without["mAP"], found["mAP"], atol=0.2)
    elif column not in ("feature", "precision"):  # before training the neck only scales; few ranks change by rounding
        assert (without["mAP"] != found["mAP"]).all()


def test_the_values_of_re_ranking_are_in_the_row(arguments, people):
    index = build_index(load_config(arguments).data)
    re_ranked = [
        "evaluation.re_ranking=k_reciprocal",
        "evaluation.re_ranking_k1=8",
        "evaluation.re_ranking_weight=0.25",
    ]
    settings = load_config([*arguments, *re_ranked])
    assert row_context(settings, ModelInfo("x"), index, "fp32")["re_ranking"] == "k_reciprocal(8,6,0.25)"
    settings = load_config([*arguments, "evaluation.re_ranking=aim", "evaluation.aim_k1=20", "evaluation.aim_k2=6"])
    assert row_context(settings, ModelInfo("x"), index, "fp32")["re_ranking"] == "aim(20,6)"
    for argument in (
        "evaluation.re_ranking_k1=0",
        "evaluation.re_ranking_weight=1.5",
        "evaluation.re_ranking=yes",
        "evaluation.aim_k1=0",
    ):
        with pytest.raises(ValueError, match=argument.partition("=")[0]):
            load_config([*arguments, argument])


def test_other_images_are_another_test_set(arguments, people):
    settings = load_config(arguments)
    index = build_index(settings.data)
    first = row_context(settings, ModelInfo("x"), index, "fp32")["test_set"]
    assert first == row_context(settings, ModelInfo("y"), index.copy(), "bf16")["test_set"]
    trained = index["split"].to_numpy() == "train"
    assert first == row_context(settings, ModelInfo("x"), index[~trained], "fp32")["test_set"]
    for name in ("identity", "camera"):
        other = index.assign(**{name: index[name] + 1})
        assert first != row_context(settings, ModelInfo("x"), other, "fp32")["test_set"]


@pytest.fixture(scope="module")
def network(people, tiny):
    torch.manual_seed(0)
    return build_network(load_config([*tiny, *LEARNED, f"data.root={people}"]), identities=3).eval()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("fusion", ["mean", "concatenate"])
def test_fused_features_are_those_of_the_image_and_its_derivative(arguments, network, fusion, flip):
    settings = load_config(
        [*arguments, *LEARNED, f"evaluation.fusion={fusion}", f"evaluation.flip={str(flip).lower()}"]
    )
    extract = network_extractor(network, settings, Accelerator(cpu=True))
    images = torch.randn((3, 3, 32, 16), generator=torch.Generator().manual_seed(0))
    for modality, derived in (
        (Modality.VISIBLE, Modality.VISIBLE_DERIVED),
        (Modality.INFRARED, Modality.INFRARED_DERIVED),
    ):
        views = []
        for row in (modality, derived):
            with torch.inference_mode():
                view = network(images, [row] * 3).embedding
                if flip:
                    view = (view + network(images.flip(-1), [row] * 3).embedding) / 2
            views.append(view / view.norm(dim=1, keepdim=True))
        assert (views[0] - views[1]).abs().max() > 1e-3
        expected = torch.cat(views, dim=1) if fusion == "concatenate" else (views[0] + views[1]) / 2
        torch.testing.assert_close(extract(images, modality), expected)


@pytest.mark.parametrize("fusion", ["mean", "concatenate"])
def test_derivatives_that_the_graph_makes_are_fused_image_by_image(arguments, fusion):
    made = {Modality.VISIBLE: parse_stages(["weighted_gray"], 3), Modality.INFRARED: parse_stages(["inversion"], 1)}
    derived = ["derive.visible=weighted_gray", "derive.infrared=inversion", "model.stems=modality"]
    settings = load_config([*arguments, *derived, f"evaluation.fusion={fusion}", "evaluation.batch=4"])
    network, accelerator = build_network(settings, identities=3).eval(), Accelerator(cpu=True)
    index = build_index(settings.data)
    image_source, rows = FolderImages(index), np.flatnonzero(index["split"] == "test")[::9]
    table = extract_features(network_extractor(network, settings, accelerator), index, rows, settings, accelerator)
    for place, row in enumerate(rows):
        base = Modality(index["modality"][row])
        derivative = Modality.from_name(f"{base.key}_derived")
        (images,) = evaluation_batches(image_source, [row], base, settings, torch.device("cpu"), made[base])
        assert len(images) == 2 and (images[0] - images[1]).abs().max() > 0.5
        with torch.inference_mode():
            views = [
                network(image[None], [it]).embedding[0] for image, it in zip(images, (base, derivative), strict=True)
            ]
        views = [view / view.norm() for view in views]
        expected = torch.cat(views) if fusion == "concatenate" else (views[0] + views[1]) / 2
        torch.testing.assert_close(table[place], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([*LEARNED, "batch.modalities=[visible,infrared]"], "evaluation.fusion: mean needs derivatives trained on"),
        ([*LEARNED, "evaluation.extractor=pixels"], "evaluation.fusion: joins features of a network; pixels have none"),
        (
            [*LEARNED, "batch.modalities=[visible,infrared,infrared_derived]", "evaluation.fusion=concatenate"],
            "evaluation.fusion: concatenate needs derivatives trained on; found batch.modalities=visible, infrared",
        ),
    ],
)
def test_fusion_that_cannot_be_is_an_error_before_training(arguments, more, message, capsys, tmp_path):
    arguments = [*arguments, "name=x", "losses.cross.weight=0", "evaluation.fusion=mean", *more]
    for main in (evaluate.main, train.main):
        assert message in refusal(main, arguments, capsys)
    assert not (tmp_path / "x").exists()


def test_every_image_is_read_once_however_many_trials_use_it(tiny, tmp_path, monkeypatch):
    generate("sysu", tmp_path / "set", identities=10, images_per_camera=2, workers=1)
    fed, feed = [], FolderImages.feed
    monkeypatch.setattr(FolderImages, "feed", lambda self, rows: fed.extend(rows) or feed(self, rows))
    pixels = ["evaluation.extractor=pixels", "evaluation.batch=7", "loader.threads=1"]
    evaluate.main(["configs/sysu.yaml", *pixels, f"data.root={tmp_path / 'set'}", f"output={tmp_path}", "name=x"])
    rows = rows_of(tmp_path, "x")
    assert len(rows) == 20 and len(fed) == len(set(fed)) > max(rows["queries"] + rows["gallery"])


# ---------------------------------------------------------------- identities that were trained on


def test_a_regdb_model_is_tested_on_its_own_split_by_every_way_in(tiny, tmp_path, capsys):
    generate("regdb", tmp_path / "set", identities=8, images_per_camera=2, workers=1)
    root, run = f"data.root={tmp_path / 'set'}", tmp_path / "run"
    short = [
        *(argument for argument in tiny if not argument.startswith("data.")),
        "train.epochs=1",
        "train.steps_per_epoch=1",
    ]
    short += [root, f"output={tmp_path}"]
    train.main(["configs/regdb.yaml", *short, "data.trial=1", "name=run"])
    for trial in (1, 2):
        with pytest.raises(SystemExit):
            pack = ["--pack", str(tmp_path / f"pack{trial}")]
            prepare.main(["--dataset", "regdb", "--root", str(tmp_path / "set"), f"data.trial={trial}", *pack])
    capsys.readouterr()
    packed = f"data.root={tmp_path / 'pack2'}"
    untrained = ["configs/regdb.yaml", *short, "data.trial=2", "name=other"]
    for arguments, message in (
        ([run, "data.trial=2"], "would test identities it was trained on"),
        ([run, "data.trial=2", packed], "would test identities it was trained on"),
        (
            [run, "data.trial=2", "data.dataset=regdb", "data.train_splits=[val]"],
            "would test identities it was trained",
        ),
        ([run, packed], "was packed with data.trial=2; found data.trial=1"),
        ([run, "--root", tmp_path / "pack2"], "was packed with data.trial=2; found data.trial=1"),
        ([run, "data.test_split=val"], "data.test_split: val was trained on"),
        ([run, "data.test_split=train"], "data.test_split"),
        ([run, "name=other", "data.trial=2"], "name=other: a trained run is evaluated with"),
        ([run, "configs/regdb.yaml"], "configs/regdb.yaml: a trained run is evaluated with"),
        ([*untrained, f"model.weights={run / 'model.safetensors'}"], "would test identities it was trained on"),
        (
            [run / "config.yaml", root, "data.trial=2", f"model.weights={run / 'model.safetensors'}"],
            "would test identities",
        ),
    ):
        assert message in refusal(evaluate.main, arguments, capsys)
    assert "belongs to a run with data.trial=1" in refusal(
        train.main, ["configs/regdb.yaml", *short, "data.trial=2", "name=run"], capsys
    )
    saved = tmp_path / "features.npz"
    evaluate.main([str(run), f"data.root={tmp_path / 'pack1'}", "--save-features", str(saved)])
    assert len(rows_of(tmp_path, "run")) == 2
    features = ["--features", saved, "--dataset", "regdb", "--root", tmp_path / "set"]
    assert "images tested have no features" in refusal(evaluate.main, [*features, "data.trial=2"], capsys)


def test_a_run_of_another_data_set_is_named(tmp_path, capsys):
    assert "expected a trained run" in refusal(evaluate.main, [Path("tests")], capsys)
