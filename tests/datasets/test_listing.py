import pytest

from pipeline.datasets import DATASETS
from pipeline.datasets.listing import Record, build_index
from tests.datasets.reading import read_index


def test_read_index_passes_the_options_on(tmp_path):
    for modality in ("visible", "infrared"):
        for name in "1234":
            (tmp_path / modality / name).mkdir(parents=True)
            (tmp_path / modality / name / "0.jpg").touch()
    index = read_index("folder", tmp_path, test_fraction=0.25)
    assert index.groupby("split")["identity"].nunique().to_dict() == {"train": 3, "test": 1}
    sampled = {tuple(read_index("folder", tmp_path, split_seed=seed)["split"]) for seed in range(8)}
    assert len(sampled) == 1, "rows are sorted by split"
    tested = {
        tuple(read_index("folder", tmp_path, split_seed=s).query("split == 'test'")["identity"]) for s in range(8)
    }
    assert len(tested) > 1
    (tmp_path / "split.csv").write_text("identity,split\n1,test\n2,test\n3,test\n4,test\n")
    assert set(read_index("folder", str(tmp_path), split_file=str(tmp_path / "split.csv"))["split"]) == {"test"}
    with pytest.raises(ValueError, match="data.trial"):
        read_index("regdb", tmp_path, trial=12)


@pytest.mark.parametrize("dataset", DATASETS)
def test_raises_for_an_empty_folder(tmp_path, dataset):
    with pytest.raises((FileNotFoundError, ValueError), match=f"{tmp_path}: .*; found (folders: )?none"):
        read_index(dataset, tmp_path)


@pytest.mark.parametrize(("name", "near"), [("sysu_mm01", "sysu"), ("RegDB", "regdb"), ("folders", "folder")])
def test_names_the_nearest_data_set(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"data.dataset: expected one of .*found '{name}'; the nearest is {near}"):
        read_index(name, tmp_path)
    with pytest.raises(ValueError, match="found 'zzz'$"):
        read_index("zzz", tmp_path)


def test_build_index_raises_for_nothing_and_duplicates(tmp_path):
    with pytest.raises(ValueError, match="expected images"):
        build_index([], tmp_path)
    record = Record("/a.jpg", 1, 1, 0, "train")
    with pytest.raises(ValueError, match="1 images are listed twice; the first is /a.jpg"):
        build_index([record, record._replace(modality=1), record._replace(path="/b.jpg")], tmp_path)
