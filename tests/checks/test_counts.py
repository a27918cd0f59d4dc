import pandas as pd
import pytest

from pipeline.batch import Modality
from pipeline.checks.counts import check_counts, count_table, format_counts
from pipeline.datasets import DATASETS
from pipeline.datasets.dataset import Published
from pipeline.datasets.sysu import SYSU, VISIBLE_CAMERAS

REGDB, LLCM = DATASETS["regdb"].published, DATASETS["llcm"].published


def index_of(rows):
    return pd.DataFrame(rows, columns=["identity", "camera", "modality", "split"])


@pytest.fixture(scope="module")
def true_shape(shared_folder):
    return pd.read_csv(shared_folder / "protocols" / "sysu_shape.csv").query("split != 'none'")


@pytest.fixture(scope="module")
def true_index(true_shape):
    return index_of(
        [
            (row.id, camera, int(camera not in VISIBLE_CAMERAS), row.split)
            for row in true_shape.itertuples()
            for camera in range(1, 7)
            for _ in range(getattr(row, f"cam{camera}"))
        ]
    )


def test_the_published_numbers_are_those_of_the_true_shape(true_shape):
    for (split, modality, camera), count in SYSU.published.images.items():
        assert true_shape[f"cam{camera}"][true_shape["split"] == split].sum() == count
        assert (modality == Modality.VISIBLE) == (camera in VISIBLE_CAMERAS)
    assert true_shape["split"].value_counts().to_dict() == SYSU.published.identities


def test_the_true_shape_has_no_problem_and_one_image_less_has_two(true_index):
    table = count_table(true_index, SYSU.published)
    assert list(check_counts(table, SYSU.published)) == []
    assert (table["images"] == table["images_expected"]).all()
    fewer = count_table(true_index[1:], SYSU.published)
    assert [str(problem) for problem in check_counts(fewer, SYSU.published)] == [
        "warning: train, visible, camera 1: expected 4721 images; found 4720; unpack the data set again",
        "warning: train: expected 30213 images; found 30212; unpack the data set again",
    ]


def test_the_table_counts_each_split_modality_and_camera():
    table = count_table(
        index_of([(1, 1, 0, "train"), (1, 1, 0, "train"), (2, 3, 1, "train"), (3, 1, 0, "test")]), Published()
    )
    columns = ["split", "modality", "camera", "identities", "images"]
    assert table[columns].values.tolist() == [
        ["train", "visible", 1, 1, 2],
        ["train", "infrared", 3, 1, 1],
        ["train", "all", "all", 2, 3],
        ["test", "visible", 1, 1, 1],
        ["test", "all", "all", 1, 1],
    ]
    assert table[["identities_expected", "images_expected"]].isna().all(axis=None)
    assert "expected" not in format_counts(table)
    assert list(check_counts(table, Published())) == []


def test_a_camera_without_images_and_a_split_with_other_identities_are_named():
    rows = [(1, 1, int(Modality.VISIBLE), "train"), (1, 2, int(Modality.INFRARED), "train")]
    table = count_table(index_of(rows), REGDB)
    found = [str(problem) for problem in check_counts(table, REGDB)]
    assert "warning: test, visible, camera 1: expected 2060 images; found 0; unpack the data set again" in found
    assert "warning: test: expected 206 identities; found 0; unpack the data set again" in found
    assert "warning: train: expected 206 identities; found 1; unpack the data set again" in found
    assert "2060" in format_counts(table)


def test_a_data_set_with_a_published_total_only_is_compared_with_that():
    table = count_table(index_of([(1, 1, 0, "train"), (1, 1, 1, "test")]), LLCM)
    found = [str(problem) for problem in check_counts(table, LLCM)]
    assert f"warning: all splits: expected {LLCM.total} images; found 2" in found
