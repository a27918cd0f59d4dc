import random
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat

from pipeline.batch import Modality
from pipeline.datasets import DATASETS
from pipeline.datasets.listing import Record, build_index
from pipeline.datasets.llcm import exclude_same_identity_and_camera
from pipeline.datasets.sysu.protocol import exclude_same_place
from pipeline.protocols import DIRECTIONS, exclude_none
from tests.datasets.reading import trials

SHARED = Path(__file__).parents[3] / "shared" / "protocols"
INFRARED = {3, 6}
FIELDS = {"mode", "shots", "gallery_rule", "direction", "trial"}


def make_index(images: list[tuple[str, int, int, int, int]]) -> pd.DataFrame:
    """(split, identity, camera, modality, number of images) -> an index without files."""
    records = [
        Record(f"/root/{modality}/cam{camera}/{identity:04d}/{image:04d}.jpg", identity, camera, modality, split)
        for split, identity, camera, modality, count in images
        for image in range(1, count + 1)
    ]
    return build_index(records, Path("/root"))


@pytest.fixture(scope="module")
def sysu_index() -> pd.DataFrame:
    """SYSU-MM01's true number of images of every identity in every camera."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/protocols")
    shape = pd.read_csv(SHARED / "sysu_shape.csv").query("split in ('train', 'val', 'test')")
    images = [
        (row.split, row.id, camera, int(camera in INFRARED), getattr(row, f"cam{camera}"))
        for row in shape.itertuples()
        for camera in range(1, 7)
    ]
    return make_index(images)


@pytest.fixture
def sysu_root(tmp_path) -> Path:
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/protocols")
    (tmp_path / "exp").mkdir()
    shutil.copy(SHARED / "rand_perm_cam.mat", tmp_path / "exp")
    return tmp_path


def names(index: pd.DataFrame, rows: np.ndarray) -> list[tuple[int, int, int]]:
    """(camera, identity, number of the image) of rows."""
    chosen = index.iloc[rows]
    numbers = [int(Path(path).stem) for path in chosen["path"]]
    return list(zip(chosen["camera"], chosen["identity"], numbers, strict=True))


def test_sysu_sizes_are_those_published(sysu_index, sysu_root):
    assert sysu_index.query("split != 'test'").groupby("modality").size().tolist() == [22258, 11909]
    made = trials("sysu", sysu_index, sysu_root, shots=("single", "multi"))
    sizes = {("all", "single"): 301, ("indoor", "single"): 112, ("all", "multi"): 3010, ("indoor", "multi"): 1120}
    assert [(t.fields["mode"], t.fields["shots"]) for t in made[::10]] == [
        ("all", "single"),
        ("all", "multi"),
        ("indoor", "single"),
        ("indoor", "multi"),
    ]
    assert [t.fields["trial"] for t in made] == list(range(1, 11)) * 4
    for trial in made:
        assert len(trial.query) == len(set(trial.query)) == 3803
        assert len(trial.gallery) == len(set(trial.gallery)) == sizes[trial.fields["mode"], trial.fields["shots"]]
        assert set(sysu_index["modality"].iloc[trial.query]) == {Modality.INFRARED}
        cameras = {1, 2, 4, 5} if trial.fields["mode"] == "all" else {1, 2}
        assert set(sysu_index["camera"].iloc[trial.gallery]) == cameras
        assert set(sysu_index["split"].iloc[np.concatenate([trial.query, trial.gallery])]) == {"test"}
        assert trial.query.dtype == trial.gallery.dtype == np.int64
        assert (trial.exclusion, trial.deduplicate) == (exclude_same_place, True)
        assert set(trial.fields) == FIELDS
        assert trial.fields["gallery_rule"] == "official"
        assert trial.fields["direction"] == "infrared_to_visible"


def test_sysu_official_gallery_is_that_of_the_permutations(sysu_index, sysu_root):
    cells = loadmat(SHARED / "rand_perm_cam.mat")["rand_perm_cam"]
    identities = sorted(int(argument) for argument in (SHARED / "test_id.txt").read_text().strip().split(","))
    for shots, count in (("single", 1), ("multi", 10)):
        made = trials("sysu", sysu_index, sysu_root, modes=("all",), shots=(shots,), trials=3)
        assert len(made) == 3
        for number, trial in enumerate(made):
            expected = []
            for camera in (1, 2, 4, 5):
                for identity in identities:
                    cell = cells[camera - 1, 0][identity - 1, 0]
                    expected += [(camera, identity, int(image)) for image in cell[number : number + 1, :count].ravel()]
            assert names(sysu_index, trial.gallery) == expected


def test_sysu_random_seed_gallery_is_that_of_public_code(sysu_index, tmp_path):
    identities = sorted(sysu_index.query("split == 'test'")["identity"].unique())
    files = sysu_index.groupby(["identity", "camera"])["path"].apply(sorted).to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = trials("sysu", sysu_index, tmp_path, gallery_rule="random_seed")
    assert [(t.fields["mode"], t.fields["trial"]) for t in made] == [
        (m, t) for m in ("all", "indoor") for t in range(10)
    ]
    for trial in made:
        state = random.getstate()
        random.seed(trial.fields["trial"])
        cameras = (1, 2, 4, 5) if trial.fields["mode"] == "all" else (1, 2)
        expected = [
            random.choice(files[identity, camera])
            for identity in identities
            for camera in cameras
            if (identity, camera) in files
        ]
        random.setstate(state)
        assert sysu_index["path"].iloc[trial.gallery].tolist() == expected
        assert trial.fields["gallery_rule"] == "random_seed"


def test_sysu_validation_identities(sysu_index, sysu_root):
    (trial,) = trials("sysu", sysu_index, sysu_root, split="val", modes=("all",), trials=1)
    assert set(sysu_index["split"].iloc[np.concatenate([trial.query, trial.gallery])]) == {"val"}
    assert (len(trial.query), len(trial.gallery)) == (1980, 195)
    with pytest.raises(ValueError, match="expected visible images of cameras 1, 2 in split 'val'; found none"):
        trials("sysu", sysu_index, sysu_root, split="val")


SMALL = [("test", 2, 1, 0, 3), ("test", 2, 3, 1, 2), ("test", 5, 2, 0, 2), ("test", 5, 6, 1, 1)]


def write_permutations(file: Path, counts: dict[tuple[int, int], int], rows: int = 10) -> None:
    cells = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        cells[camera - 1, 0] = np.empty((5, 1), dtype=object)
        for identity in range(1, 6):
            count = counts.get((camera, identity), 0)
            cells[camera - 1, 0][identity - 1, 0] = np.tile(np.arange(1, count + 1, dtype=np.uint8), (rows, 1))
    savemat(file, {"rand_perm_cam": cells})


def test_sysu_without_permutations(tmp_path):
    index = make_index(SMALL)
    with pytest.warns(UserWarning, match="rand_perm_cam.mat: no such file; .*evaluation/data_split.* random_seed"):
        made = trials("sysu", index, tmp_path)
    assert {trial.fields["gallery_rule"] for trial in made} == {"random_seed"}
    with pytest.raises(FileNotFoundError, match=r"exp/rand_perm_cam.mat: no such file; .*set evaluation.gallery_rule"):
        trials("sysu", index, tmp_path, gallery_rule="official")
    with pytest.raises(
        ValueError, match="evaluation.shots: multi-shot galleries are defined by rand_perm_cam.mat only"
    ):
        trials("sysu", index, tmp_path, gallery_rule="random_seed", shots=("multi",))


def test_sysu_multi_shot_takes_what_there_is(tmp_path):
    write_permutations(tmp_path / "rand_perm_cam.mat", {(1, 2): 3, (2, 5): 2})
    index = make_index(SMALL)
    (trial,) = trials("sysu", index, tmp_path, modes=("all",), shots=("multi",), trials=1)
    assert names(index, trial.gallery) == [(1, 2, 1), (1, 2, 2), (1, 2, 3), (2, 5, 1), (2, 5, 2)]


def test_sysu_finds_an_incomplete_copy(tmp_path):
    index = make_index(SMALL)
    file = tmp_path / "rand_perm_cam.mat"
    write_permutations(file, {(1, 2): 4, (2, 5): 2})
    with pytest.raises(ValueError, match="expected 4 images of identity 2 in camera 1; found 3; unpack"):
        trials("sysu", index, tmp_path)
    write_permutations(file, {(1, 2): 3})
    with pytest.raises(ValueError, match="expected 0 images of identity 5 in camera 2; found 2; unpack"):
        trials("sysu", index, tmp_path)
    write_permutations(file, {(1, 2): 3, (2, 5): 2}, rows=4)
    with pytest.raises(ValueError, match="row 5 of camera 1, identity 2 isn't a permutation of 1 to 3"):
        trials("sysu", index, tmp_path)


@pytest.mark.parametrize("content", [{"rand_perm": np.eye(2)}, {"rand_perm_cam": np.eye(2)}, None])
def test_sysu_raises_for_a_wrong_permutation_file(tmp_path, content):
    file = tmp_path / "rand_perm_cam.mat"
    file.write_bytes(b"not MATLAB") if content is None else savemat(file, content)
    with pytest.raises(ValueError, match="rand_perm_cam.mat: expected .*rand_perm_cam"):
        trials("sysu", make_index(SMALL), tmp_path)


PAIRS = [("train", 1, 1, 0, 2), ("train", 1, 2, 1, 2), ("test", 7, 1, 0, 3), ("test", 7, 2, 1, 2)]
PAIRS += [("test", 8, 1, 0, 1), ("test", 8, 2, 1, 4)]


@pytest.mark.parametrize("dataset", ["regdb", "folder"])
def test_all_against_all(dataset, tmp_path):
    index = make_index(PAIRS)
    made = trials(dataset, index, tmp_path, trial=4)
    assert [trial.fields["direction"] for trial in made] == list(DIRECTIONS)
    visible = index.query("split == 'test' and modality == 0").index.tolist()
    infrared = index.query("split == 'test' and modality == 1").index.tolist()
    assert [(t.query.tolist(), t.gallery.tolist()) for t in made] == [(visible, infrared), (infrared, visible)]
    for trial in made:
        assert trial.fields["trial"] == (4 if dataset == "regdb" else 1)
        assert set(trial.fields) == FIELDS
        assert (trial.exclusion, trial.deduplicate) == (exclude_none, False)
    (only,) = trials(dataset, index, tmp_path, directions=["infrared_to_visible"])
    assert only.query.tolist() == infrared


# Identity 4 has cameras 1 and 12 in visible light: cameras are ordered as numbers. Camera 1 sees both modalities.
LLCM = [("test", 4, 1, 0, 5), ("test", 4, 12, 0, 6), ("test", 4, 2, 0, 7), ("test", 30, 1, 0, 9)]
LLCM += [("test", 4, 1, 1, 8), ("test", 30, 5, 1, 3), ("train", 9, 1, 0, 2), ("train", 9, 1, 1, 2)]


def drawn_llcm(modality: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    groups = sorted(
        (identity, camera, count) for split, identity, camera, m, count in LLCM if split == "test" and m == modality
    )
    return [
        generator.choice(
            [f"/root/{modality}/cam{camera}/{identity:04d}/{image:04d}.jpg" for image in range(1, count + 1)]
        )
        for identity, camera, count in groups
    ]


@pytest.mark.parametrize("reading", ["paper", "repository"])
def test_llcm(reading, tmp_path):
    index = make_index(LLCM)
    made = trials("llcm", index, tmp_path, protocol_variant=reading)
    assert [(t.fields["direction"], t.fields["trial"]) for t in made] == [(d, t) for d in DIRECTIONS for t in range(10)]
    whole = {m: index.query(f"split == 'test' and modality == {m}")["path"].tolist() for m in (0, 1)}
    for trial in made:
        query, gallery = (index["path"].iloc[rows].tolist() for rows in (trial.query, trial.gallery))
        seed = trial.fields["trial"]
        if trial.fields["direction"] == "infrared_to_visible":
            assert (query, gallery) == (whole[1], drawn_llcm(0, seed))
        elif reading == "paper":
            assert (query, gallery) == (whole[0], drawn_llcm(1, seed))
        else:
            assert (query, gallery) == (drawn_llcm(1, seed), whole[0])
        assert set(trial.fields) == FIELDS
        assert trial.fields["mode"] == reading
        assert (trial.exclusion, trial.deduplicate) == (exclude_same_identity_and_camera, True)


def test_exclusions():
    query_identities, query_cameras = np.array([1, 1, 2]), np.array([3, 6, 2])
    gallery_identities, gallery_cameras = np.array([1, 2, 1, 2]), np.array([2, 2, 6, 1])
    for exclude in (exclude_none, exclude_same_place, exclude_same_identity_and_camera):
        found = exclude(query_identities, query_cameras, gallery_identities, gallery_cameras)
        for q in range(3):
            for g in range(4):
                same_identity = query_identities[q] == gallery_identities[g]
                expected = {
                    exclude_none: False,
                    exclude_same_place: query_cameras[q] == 3 and gallery_cameras[g] == 2,
                    exclude_same_identity_and_camera: same_identity and query_cameras[q] == gallery_cameras[g],
                }[exclude]
                assert found[q, g] == expected
        assert found.dtype == bool and found.shape == (3, 4)
        assert found.any() == (exclude is not exclude_none)


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("sysu", {"modes": ["outdoor"]}, "evaluation.modes: expected a list of all, indoor; found 'outdoor'"),
        ("sysu", {"modes": []}, "evaluation.modes: expected a list of all, indoor; found nothing"),
        ("sysu", {"modes": "all"}, "found the text 'all'"),
        ("sysu", {"shots": ["10"]}, "evaluation.shots: expected a list of single, multi; found '10'"),
        ("sysu", {"gallery_rule": "matlab"}, "evaluation.gallery_rule: .*found 'matlab'"),
        (
            "sysu",
            {"gallery_rule": "random_seed", "trials": 0},
            "evaluation.trials: expected a number of at least 1; found 0",
        ),
        (
            "sysu",
            {"gallery_rule": "random_seed", "split": "val"},
            "expected infrared images in split 'val'; found none",
        ),
        (
            "llcm",
            {"protocol_variant": "mine"},
            "evaluation.protocol_variant: expected a list of paper, repository; found 'mine'",
        ),
        ("llcm", {"directions": ["both"]}, "evaluation.directions: .*found 'both'"),
        ("llcm", {"trials": -1}, "evaluation.trials: .*found -1"),
        ("regdb", {"directions": ["visible2thermal"]}, "evaluation.directions: .*found 'visible2thermal'"),
        ("folder", {"split": "val"}, r"expected visible images in split 'val'; found none \(splits there are: test\)"),
        ("market", {}, f"data.dataset: expected one of {', '.join(DATASETS)}; found 'market'"),
    ],
)
def test_raises_for_wrong_options(dataset, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        trials(dataset, make_index(SMALL), tmp_path, **options)


def test_sysu_has_ten_official_trials(tmp_path):
    write_permutations(tmp_path / "rand_perm_cam.mat", {(1, 2): 3, (2, 5): 2})
    with pytest.raises(ValueError, match="evaluation.trials: expected a number from 1 to 10; found 11"):
        trials("sysu", make_index(SMALL), tmp_path, trials=11)


def test_sampled_galleries_do_not_depend_on_the_order_of_the_index(tmp_path):
    index = make_index(LLCM)
    shuffled = index.sample(frac=1, random_state=0).reset_index(drop=True)
    assert not shuffled.equals(index)
    for expected, found in zip(trials("llcm", index, tmp_path), trials("llcm", shuffled, tmp_path), strict=True):
        assert shuffled["path"].iloc[found.gallery].tolist() == index["path"].iloc[expected.gallery].tolist()
