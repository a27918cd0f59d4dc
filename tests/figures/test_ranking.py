import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.figures import style
from pipeline.figures.__main__ import main

WAYS = ("visible_to_infrared", "infrared_to_visible")
LISTS = [f"ranked_lists_{which}_{way}" for way in WAYS for which in ("hardest", "random")]
NAMES = {*LISTS, "cmc", "distances", "t_sne", "attention"}


def test_all_figures_of_a_run_are_written_a_column_wide(copied_run, capsys):
    main(["ranking", str(copied_run), "--queries", "2", "--identities", "3"])
    folder, printed = copied_run / "figures", capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")}
    for name in NAMES:
        assert f"{folder / name}.png {folder / name}.pdf" in printed
        with Image.open(folder / f"{name}.png") as image:
            assert image.width == int(style.COLUMN / 25.4 * style.RESOLUTION) and 200 < image.height < 900
            assert len(np.unique(np.asarray(image))) > 20
        content = (folder / f"{name}.pdf").read_bytes()
        assert content.startswith(b"%PDF") and len(content) > 4000


def test_scores_are_those_of_the_results(run, evaluated):
    results = pd.read_csv(run / "results.csv")
    for row, trial, scores in zip(results.itertuples(), evaluated.trials, evaluated.scores, strict=True):
        assert row.direction == trial.fields["direction"] and row.queries == scores.counted_queries
        assert row.mAP == pytest.approx(100 * scores.mAP) and row.rank_5 == pytest.approx(100 * scores.cmc[4])


def test_pixels_have_no_activation_and_the_other_figures_are_drawn(copied_run, tmp_path, capsys):
    arguments = [
        str(copied_run),
        "evaluation.extractor=pixels",
        "--only",
        "attention,cmc",
        "--out",
        str(tmp_path / "out"),
    ]
    main(["ranking", *arguments])
    assert "attention is left out: the pixels are compared, without a network" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cmc.pdf", "cmc.png"]


def test_several_runs_are_overlaid_in_one_figure(run, copied_run, tmp_path):
    main(["ranking", str(run), str(copied_run), "--only", "cmc", "--out", str(tmp_path / "both")])
    main(["ranking", str(run), "--only", "cmc", "--out", str(tmp_path / "one")])
    both, one = (np.asarray(Image.open(tmp_path / name / "cmc.png")) for name in ("both", "one"))
    assert both.shape[1] == one.shape[1] and both.shape[0] > one.shape[0], "the legend grows"


def test_wrong_runs_are_errors(copied_run, capsys):
    for arguments, message in (
        ([str(copied_run), "model.backbone=resnet18"], "a trained run is evaluated with"),
        ([str(copied_run), "data.split_seed=3"], "would test identities it was trained on"),
        ([str(copied_run), str(copied_run / "none")], "none: expected the folder of a trained run"),
    ):
        with pytest.raises(SystemExit):
            main(["ranking", *arguments])
        assert message in capsys.readouterr().err
    (copied_run / "model.safetensors").unlink()
    with pytest.raises(SystemExit):
        main(["ranking", str(copied_run)])
    assert "expected a trained run" in capsys.readouterr().err
