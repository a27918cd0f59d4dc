import shutil

import numpy as np
import pandas as pd
from PIL import Image

from pipeline import prepare
from pipeline.figures import dataset
from pipeline.figures.__main__ import main

WIDE = 2 * (dataset.WIDTH + 4) + dataset.GAP
TALL = dataset.HEIGHT + dataset.CAPTION + 4
FEW = ["configs/folder.yaml", "batch.ids_per_batch=4", "model.pretrained=false"]  # people enough to train on


def draw(root, out, *more):
    main(["dataset", "configs/folder.yaml", f"data.root={root}", "--images", "2", "--out", str(out), *more])
    return np.asarray(Image.open(out))


def test_identities_are_spread_over_the_splits_and_images_over_the_camera():
    index = pd.DataFrame(
        {
            "identity": np.repeat([5, 6, 1, 2, 3], 4),
            "camera": [1, 1, 1, 2] * 5,
            "modality": [0, 0, 0, 1] * 5,
            "split": np.repeat(["train", "train", "train", "test", "test"], 4),
        }
    )
    assert dataset.choose_identities(index, 3) == [5, 1, 3]
    assert dataset.choose_identities(index, 99) == [5, 6, 1, 2, 3]
    assert dataset.choose_columns(index) == [(0, 1), (1, 2)]
    assert dataset.choose_cell(index, 6, 0, 1, 2) == dataset.Cell([4, 6], 3)
    assert dataset.choose_cell(index, 6, 0, 2, 2) == dataset.Cell([], 0)


def test_a_sheet_shows_what_is_on_disk_from_the_folder_and_from_packs(people, tmp_path, capsys):
    sheet = draw(people, tmp_path / "new" / "folder.png", "--identities", "3")
    assert sheet.shape[:2] == (dataset.TITLE + 3 * TALL, dataset.LABEL_WIDTH + 4 * WIDE)
    first = sorted((people / "visible").glob("*/*"))[0]
    with Image.open(first) as image:
        width = round(image.width * dataset.HEIGHT / image.height)
        expected = np.asarray(image.convert("RGB").resize((width, dataset.HEIGHT)))
    left = dataset.LABEL_WIDTH + (dataset.WIDTH - width) // 2
    cells = [sheet[dataset.TITLE + row * TALL :][: dataset.HEIGHT, left : left + width] for row in range(3)]
    assert any((cell == expected).all() for cell in cells)
    try:
        prepare.main([*FEW, f"data.root={people}", "--pack", str(tmp_path / "packs")])
    except SystemExit as ended:
        assert ended.code in (0, None)
    np.testing.assert_array_equal(draw(tmp_path / "packs", tmp_path / "packs.png", "--identities", "3"), sheet)
    assert "packs.png: " in capsys.readouterr().out


def test_a_pack_of_pixels_is_shown_as_well(people, tmp_path):
    size = ["augment.height=96", "augment.width=48"]
    pack = [*FEW, *size, f"data.root={people}", "--resized", "--pack", str(tmp_path / "packs")]
    try:
        prepare.main(pack)
    except SystemExit as ended:
        assert ended.code in (0, None)
    sheet = draw(tmp_path / "packs", tmp_path / "packs.png", "--identities", "1", *size)
    for column in range(4):
        left = dataset.LABEL_WIDTH + column * WIDE
        cell = sheet[dataset.TITLE :][: dataset.HEIGHT, left : left + dataset.WIDTH].astype(int)
        assert len(np.unique(cell)) > 50
        assert np.ptp(cell, axis=2).any() == (column < 2), "infrared images are gray, visible ones aren't"


def test_a_broken_image_is_crossed_out_and_named(people, tmp_path, capsys):
    root = tmp_path / "set"
    shutil.copytree(people, root)
    whole = draw(root, tmp_path / "whole.png")
    victim = sorted((root / "infrared").glob("*/*"))[0]
    victim.write_bytes(victim.read_bytes()[:200])
    broken = draw(root, tmp_path / "broken.png")
    assert f"{victim}: cannot be read as an image" in capsys.readouterr().out
    changed = (whole != broken).any(axis=2)
    rows, columns = (np.flatnonzero(changed.any(axis=axis)) for axis in (1, 0))
    assert np.ptp(rows) < dataset.HEIGHT and np.ptp(columns) < dataset.WIDTH


def test_names_of_any_alphabet_and_length_sixteen_bits_and_turned_images_are_drawn(people, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(people, root)
    names = sorted(path.name for path in (root / "visible").iterdir())
    for modality in ("visible", "infrared"):
        for old, new in zip(names, ["张伟", "x" * 200, "Zoë_$1$", "🙂"], strict=False):
            (root / modality / old).rename(root / modality / new)
    deep = root / "infrared" / "张伟" / "c9_deep.png"
    Image.fromarray(np.full((40, 20), 257 * 128, np.uint16)).save(deep)
    turned, exif = Image.new("RGB", (40, 20), (0, 0, 255)), Image.Exif()
    turned.paste((255, 0, 0), (0, 0, 20, 20))
    exif[0x0112] = 6  # turn to the right to look at it
    turned.save(root / "visible" / "张伟" / "c8_turned.png", exif=exif)
    sheet = draw(root, tmp_path / "names.png", "--identities", "12")
    assert sheet.shape[:2] == (dataset.TITLE + 12 * TALL, dataset.LABEL_WIDTH + 6 * WIDE)
    assert (sheet == 128).all(axis=2).sum() >= dataset.WIDTH * dataset.HEIGHT
    red, blue = (np.flatnonzero((sheet == color).all(axis=2).any(axis=1)) for color in ((255, 0, 0), (0, 0, 255)))
    assert len(red) and len(blue) and red.max() < blue.min() + 4
