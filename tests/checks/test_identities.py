import shutil

import pandas as pd
import pytest

from pipeline.checks.identities import check_identities, check_leftovers
from pipeline.config import load_config
from pipeline.synthetic.generation import generate
from tests.datasets.reading import read_index


def found(index, *arguments):
    return [str(problem) for problem in check_identities(index, load_config(list(arguments)))]


def index_of(rows):
    return pd.DataFrame(rows, columns=["identity", "modality", "split"])


def test_an_identity_in_two_splits_is_an_error():
    index = index_of([(1, 0, "train"), (1, 1, "test"), (2, 0, "train"), (2, 1, "train")])
    assert "error: identity 1: expected in one split; found in test and train" in found(index)


def test_too_few_images_are_counted_by_modality():
    full = [(identity, modality, "train") for identity in range(3) for modality in (0, 1) for _ in range(4)]
    assert found(index_of(full)) == []
    assert found(index_of(full[:-2])) == [
        "warning: 1 training identities (first: 2): expected 4 infrared images or more; found 2 to 2; "
        "images are repeated in a batch"
    ]
    assert found(index_of(full[:-4])) == [
        "warning: 1 training identities (first: 2): expected 4 infrared images or more; found 0 to 0; "
        "it is left out of training"
    ]
    assert found(index_of(full[:-4]), "batch.modalities=[visible]") == []
    assert found(index_of([(9, 0, "test")] + full)) == []


@pytest.fixture()
def root(tmp_path):
    generate("sysu", tmp_path / "set", identities=5, images_per_camera=1, workers=1)
    return tmp_path / "set"


def test_a_folder_whose_images_are_all_listed_leaves_nothing_over(root):
    (root / "cam1" / "Thumbs.db").write_bytes(b"x")
    (root / "cam1" / "._0001.jpg").write_bytes(b"x")
    assert list(check_leftovers(read_index("sysu", root), str(root))) == []


def test_images_of_no_identity_are_noted_and_those_in_other_formats_are_a_warning(root):
    index = read_index("sysu", root)
    one = next(root.glob("cam4/*/*.jpg"))
    (root / "cam4" / "0444").mkdir()
    shutil.copy(one, root / "cam4" / "0444" / "0001.jpg")
    shutil.copy(one, one.with_suffix(".TIF"))
    note, warning = (str(problem) for problem in check_leftovers(index, str(root)))
    assert note == f"note: 1 images (first: {root}/cam4/0444/0001.jpg): are of no listed identity and not used"
    assert warning.startswith(f"warning: 1 images (first: {one.with_suffix('.TIF')}): expected .jpg, ")
