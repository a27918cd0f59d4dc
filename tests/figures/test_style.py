import numpy as np
import pytest
from PIL import Image

from pipeline.figures import style
from pipeline.files import UNFINISHED


def make(folder):
    figure = style.new_figure(40, layout=None)
    axes = style.box(figure, 10, 5, 20, 15)
    axes.imshow(np.full((2, 2, 3), (255, 0, 0), np.uint8), aspect="auto")
    style.write(figure, 40, 5, "a $ and a _")
    return style.save(figure, folder, "name")


def test_both_files_are_a_column_wide_and_the_same_every_time(tmp_path):
    paths = make(tmp_path / "new" / "a")
    assert [path.name for path in paths] == ["name.png", "name.pdf"]
    with Image.open(paths[0]) as image:
        assert image.size == (int(85 / 25.4 * 200), int(40 / 25.4 * 200))
        red = (np.asarray(image.convert("RGB")) == (255, 0, 0)).all(axis=2)
    rows, columns = (np.flatnonzero(red.any(axis=axis)) * 25.4 / 200 for axis in (1, 0))
    assert (columns[0], columns[-1]) == pytest.approx((10, 30), abs=0.3)
    assert (rows[0], rows[-1]) == pytest.approx((5, 20), abs=0.3)
    assert paths[1].read_bytes().startswith(b"%PDF")
    for first, second in zip(paths, make(tmp_path / "b"), strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert not list(tmp_path.rglob(f"{UNFINISHED}*"))


def test_no_text_is_smaller_than_seven_points():
    sizes = [value for key, value in style.STYLE.items() if key.endswith("size") and "major" not in key]
    assert min(size for size in sizes if size != style.STYLE["lines.markersize"]) >= 7
