"""Writing a generated data set: again, interrupted, and errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.datasets.marker import MARKER
from pipeline.synthetic import __main__ as command
from pipeline.synthetic import generation
from pipeline.synthetic.rendering import ImageKey, render_image

PROJECT = Path(__file__).resolve().parents[2]


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.multiprocess
def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (1, 2):
        count = generation.generate("folder", tmp_path / str(workers), 6, 3, seed=7, workers=workers)
        assert count == 6 * 4 * 3 > generation.CHUNK  # so that there is work for two
    one, two = files_below(tmp_path / "1"), files_below(tmp_path / "2")
    assert one == two


@pytest.mark.parametrize("layout", ["sysu", "folder"])
def test_a_larger_set_contains_the_smaller_ones_images(tmp_path: Path, layout: str) -> None:
    generation.generate(layout, tmp_path / "small", 4, 1, workers=1)
    generation.generate(layout, tmp_path / "large", 6, 2, workers=1)
    small, large = files_below(tmp_path / "small"), files_below(tmp_path / "large")
    images = [name for name in small if name.endswith(".jpg")]
    assert len(images) >= 16
    assert all(small[name] == large[name] for name in images)


# ---------------------------------------------------------------- marker and refusals


def test_the_same_command_again_finds_the_set_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--layout", "folder", "--root", str(tmp_path / "set"), "--identities", "4", "--images-per-camera", "1"]
    command.main([*arguments, "--workers", "1"])
    assert f"{tmp_path / 'set'}: 16 images of 4 identities, folder layout" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}
    command.main(arguments)
    assert "already there" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "set").rglob("*")}


def test_an_interrupted_set_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generation.generate("folder", tmp_path / "whole", 4, 1, workers=1)
    rendered = []

    def interrupted(key: ImageKey) -> Image.Image:
        if len(rendered) == 5:
            raise KeyboardInterrupt
        rendered.append(key)
        return render_image(key)

    root = tmp_path / "set"
    monkeypatch.setattr(generation, "render_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generation.generate("folder", root, 4, 1, workers=1)
    assert not (root / MARKER).exists() and len(list(root.rglob("*.jpg"))) == 5
    monkeypatch.undo()
    with pytest.raises(ValueError, match="expected a set with seed 1; found one with seed 0"):
        generation.generate("folder", root, 4, 1, seed=1, workers=1)
    assert generation.generate("folder", root, 4, 1, workers=1) == 16
    assert files_below(root) == files_below(tmp_path / "whole")


def test_other_settings_are_errors_by_name_unless_forced(tmp_path: Path) -> None:
    generation.generate("folder", tmp_path, 5, 1, workers=1)
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"expected a set with identities 4; found one with identities 5.*--force"):
        generation.generate("folder", tmp_path, 4, 1, workers=1)
    assert files_below(tmp_path) == before
    assert generation.generate("folder", tmp_path, 4, 1, workers=1, force=True) == 16
    assert not (tmp_path / "visible" / "0005").exists()
    assert json.loads((tmp_path / MARKER).read_text())["identities"] == 4


@pytest.mark.parametrize("marker", [None, "{}", "not json", '{"made_by": "somebody"}'])
def test_a_folder_that_is_not_ours_is_never_touched(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("four years")
    if marker is not None:
        (tmp_path / MARKER).write_text(marker)
    before = files_below(tmp_path)
    for force in (False, True):
        with pytest.raises(ValueError, match="not empty and has no synthetic.json") as refusal:
            generation.generate("folder", tmp_path, 4, 1, workers=1, force=force)
        assert "\n" not in str(refusal.value)
    assert files_below(tmp_path) == before


def test_force_leaves_what_a_link_points_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    generation.generate("folder", tmp_path / "set", 4, 1, workers=1)
    os.symlink(outside, tmp_path / "set" / "link")
    generation.generate("folder", tmp_path / "set", 5, 1, workers=1, force=True)
    assert (outside / "kept.txt").read_text() == "kept" and not (tmp_path / "set" / "link").exists()


def test_a_file_instead_of_the_root_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(ValueError, match="expected a folder or nothing; found a file"):
        generation.generate("folder", tmp_path / "set", 4, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("identities", 3),
        ("identities", 10000),
        ("identities", 4.5),
        ("identities", True),
        ("images_per_camera", 0),
        ("images_per_camera", -2),
        ("seed", -1),
        ("workers", 0),
    ],
)
def test_bad_numbers_are_errors_by_name(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected a whole number from .*; found {value!r}$"):
        generation.generate("folder", tmp_path / "set", **{"identities": 4, name: value})
    assert not (tmp_path / "set").exists()


def test_an_unknown_layout_is_an_error_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="layout: expected one of sysu, regdb, llcm, folder; found 'market'"):
        generation.generate("market", tmp_path / "set", 4)


@pytest.mark.multiprocess
def test_the_command_ends_with_one_line_where_it_is_an_error(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "pipeline.synthetic", "--layout", "sysu", "--root", str(tmp_path / "set")]
    ended = subprocess.run([*arguments, "--identities", "2"], cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr.startswith("error: identities: expected a whole number from 4 to 9999; found 2 (")
    assert ended.stderr.count("\n") == 1


@pytest.mark.multiprocess
def test_the_command_shows_no_progress_bar_without_a_terminal(tmp_path: Path) -> None:
    arguments = [
        sys.executable,
        "-m",
        "pipeline.synthetic",
        "--layout",
        "folder",
        "--root",
        str(tmp_path / "set"),
    ]
    arguments += ["--identities", "4", "--images-per-camera", "4", "--workers", "2"]
    ended = subprocess.run(arguments, cwd=PROJECT, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stderr == ""
    assert ended.stdout.startswith(f"synthetic: {tmp_path / 'set'}: 64 images of 4 identities, folder layout, ")
