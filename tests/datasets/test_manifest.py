import csv
import os
import warnings

import pytest

from pipeline.batch import Modality
from pipeline.datasets.folder import read_folders, read_index
from pipeline.datasets.manifest import read_manifest, read_splits, write_splits

HEADER = "path,identity,modality\n"
PAIRS = "a.jpg,anna,visible\nb.jpg,anna,infrared\nc.jpg,bert,visible\nd.jpg,bert,infrared\n"


@pytest.fixture()
def root(tmp_path):
    """Images a.jpg to d.jpg, to be listed."""
    for name in "abcd":
        (tmp_path / f"{name}.jpg").touch()
    return tmp_path


def write(root, content, encoding="utf-8"):
    (root / "manifest.csv").write_bytes(content.encode(encoding))


def splits_of(index):
    return dict(zip(index["name"], index["split"], strict=True))


def test_the_manifest_defines_the_set(root):
    (root / "visible" / "9").mkdir(parents=True)
    (root / "visible" / "9" / "left_out.jpg").touch()
    (root / "c3_e.PNG").touch()
    write(root, "note,path,camera,identity,modality\n")
    with open(root / "manifest.csv", "a") as file:
        file.write("x,a.jpg,,anna,visible\n,b.jpg,12,anna,infrared\n,c.jpg,0,bert,visible\n,d.jpg,7,bert,infrared\n")
        file.write(",c3_e.PNG,,bert,infrared\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index = read_index(root)
    found = {
        os.path.relpath(row.path, root): (row.name, row.identity, row.camera, row.modality)
        for row in index.itertuples(index=False)
    }
    assert found == {
        "a.jpg": ("anna", 1, 0, Modality.VISIBLE),
        "b.jpg": ("anna", 1, 12, Modality.INFRARED),
        "c.jpg": ("bert", 2, 0, Modality.VISIBLE),
        "d.jpg": ("bert", 2, 7, Modality.INFRARED),
        "c3_e.PNG": ("bert", 2, 3, Modality.INFRARED),
    }
    assert list(index.columns) == ["path", "identity", "camera", "modality", "split", "name"]


def test_an_explicit_camera_wins_over_the_name(root):
    (root / "c3_e.jpg").touch()
    write(root, "path,identity,modality,camera\nc3_e.jpg,1,visible,0\na.jpg,1,infrared,\n")
    cameras = {os.path.basename(entry.path): entry.camera for entry in read_manifest(root, with_splits=True)}
    assert cameras == {"c3_e.jpg": 0, "a.jpg": None}
    assert set(read_index(root, test_fraction=1)["camera"]) == {0}


def test_paths_of_windows_absolute_paths_and_outside_the_folder(root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "e.jpg"
    outside.touch()
    (root / "sub, folder").mkdir()
    (root / "sub, folder" / "f.JPEG").touch()
    beside = os.path.relpath(outside, root)
    write(root, f'{HEADER}"sub, folder\\f.JPEG",1,visible\n{outside},1,infrared\n./a.jpg,2,visible\n')
    paths = [entry.path for entry in read_manifest(root, with_splits=True)]
    assert paths == [str(root / "sub, folder" / "f.JPEG"), str(outside), str(root / "a.jpg")]
    write(root, f"{HEADER}{beside},1,visible\n")
    assert read_manifest(root, with_splits=True)[0].path == str(outside)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (HEADER + PAIRS, "utf-8"),
        (HEADER + PAIRS, "utf-8-sig"),
        ((HEADER + PAIRS).replace("\n", "\r\n"), "utf-8-sig"),
        (
            "path, identity , modality,,\n" + PAIRS.replace("\n", ",,\n").replace(",anna", ", anna ") + ",,,,\n\n",
            "utf-8",
        ),
    ],
    ids=["plain", "byte order mark", "Windows", "spreadsheet with blank cells and lines"],
)
def test_what_editors_write_is_read_alike(root, content, encoding):
    write(root, content, encoding)
    entries = read_manifest(root, with_splits=True)
    assert [(os.path.basename(entry.path), entry.name, entry.modality.key) for entry in entries] == [
        ("a.jpg", "anna", "visible"),
        ("b.jpg", "anna", "infrared"),
        ("c.jpg", "bert", "visible"),
        ("d.jpg", "bert", "infrared"),
    ]


def with_column(values):
    lines = (HEADER + PAIRS).splitlines()
    return "".join(f"{line},{value}\n" for line, value in zip(lines, ["split", *values], strict=True))


def test_the_split_column_decides_unless_a_split_file_does(root):
    write(root, with_column(["test", "test", "val", "val"]))
    assert splits_of(read_index(root, test_fraction=0)) == {"anna": "test", "bert": "val"}
    (root / "split.csv").write_text("identity,split\nanna,train\nbert,test\n")
    assert splits_of(read_index(root, split_file=root / "split.csv")) == {"anna": "train", "bert": "test"}
    write(root, with_column(["test", "train", "", "dev"]))
    assert splits_of(read_index(root, split_file=root / "split.csv")) == {"anna": "train", "bert": "test"}


def test_without_a_split_column_the_split_is_sampled_as_for_folders(root):
    for name in "0123456789":
        for modality in ("visible", "infrared"):
            (root / "set" / modality / name).mkdir(parents=True)
            (root / "set" / modality / name / "0.jpg").touch()
    sampled = read_index(root / "set", test_fraction=0.3, seed=4)
    rows = [[entry.path, entry.name, entry.modality.key] for entry in read_folders(root / "set")]
    with open(root / "set" / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([["path", "identity", "modality"], *rows])
    assert read_index(root / "set", test_fraction=0.3, seed=4).equals(sampled)
    assert not read_index(root / "set", test_fraction=0.3, seed=5).equals(sampled)


def test_rows_with_a_blank_split_are_left_out(root):
    (root / "e.jpg").touch()
    write(root, with_column(["train", "train", "", ""]) + "e.jpg,anna,visible,\n")
    with pytest.warns(UserWarning, match=r"3 images have no split and are left out; first: .*c\.jpg \(line 4\)"):
        index = read_index(root)
    assert {os.path.basename(path) for path in index["path"]} == {"a.jpg", "b.jpg"}


def test_identities_of_one_modality_are_left_out(root):
    write(root, HEADER + "a.jpg,anna,visible\nb.jpg,anna,infrared\nc.jpg,bert,visible\n")
    with pytest.warns(UserWarning, match="1 identities have images of one modality only and are left out; first: bert"):
        index = read_index(root, test_fraction=1)
    assert set(index["name"]) == {"anna"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "manifest.csv:1: expected the columns path,identity,modality; found ''"),
        ("file;identity;modality\n", "manifest.csv:1: expected the columns path,identity,modality; found 'file;ident"),
        ("path,identity\na.jpg,1\n", "manifest.csv:1: expected the columns path,identity,modality; found 'path,ident"),
        (HEADER, "manifest.csv: expected a line for each image; found none"),
        (
            HEADER + "a.jpg,1,visible\nb.jpg,1,thermal\n",
            "csv:3: modality: expected visible or infrared; found 'thermal'",
        ),
        (HEADER + "a.jpg,1\n", "csv:2: modality: expected visible or infrared; found ''"),
        (HEADER + "a.jpg, ,visible\n", "csv:2: identity: expected a number or name; found none"),
        (HEADER + "a.txt,1,visible\n", "csv:2: path: expected an image (.jpg, .jpeg, .png, .bmp); found 'a.txt'"),
        (HEADER + ",1,visible\n", "csv:2: path: expected an image (.jpg, .jpeg, .png, .bmp); found ''"),
        (HEADER + "a.jpg,1,visible\n\n./a.jpg,2,visible\n", "csv:4: expected each image once; "),
        (HEADER + "a.jpg,1,visible\nx/../a.jpg,1,infrared\n", "a.jpg is in line 2 too"),
        (HEADER + "a,b.jpg,1,visible\n", "csv:2: expected 3 values; found 4; quote those with commas"),
        (HEADER + '"a.jpg"x,1,visible\n', "csv:2: expected comma-separated values; found ',' expected after '\"'"),
        (HEADER + '"a.jpg,1,visible\n', "csv:2: expected comma-separated values; found unexpected end of data"),
    ],
)
def test_raises_for_wrong_lines(root, content, message):
    write(root, content)
    with pytest.raises(ValueError) as error:
        read_index(root)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(str(root))


@pytest.mark.parametrize("camera", ["-1", "1.0", "one", "1e3", "12345678901234567890"])
def test_raises_for_a_wrong_camera(root, camera):
    write(root, f"path,identity,modality,camera\na.jpg,1,visible,1\nb.jpg,1,infrared,{camera}\n")
    with pytest.raises(ValueError, match=f"csv:3: camera: expected a whole number .*; found '{camera}'"):
        read_index(root)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "test", "val", "val"], "csv:3: anna is test here and train above"),
        (["train", "", "val", "train"], "csv:5: bert is train here and val above"),
        (
            ["train", "train", "Test", "test"],
            "csv:4: split: expected .*, validation or nothing; found 'Test'",
        ),
    ],
)
def test_raises_for_a_wrong_split(root, splits, message):
    write(root, with_column(splits))
    with pytest.raises(ValueError, match=message):
        read_index(root)


def test_raises_for_listed_files_that_are_not_there(root):
    write(root, HEADER + PAIRS + "no/e.jpg,anna,visible\nf.jpg,anna,visible\n")
    with pytest.raises(FileNotFoundError) as error:
        read_index(root)
    assert f"2 of the 6 images listed in {root / 'manifest.csv'} are not there" in str(error.value)
    assert f"the first is {root / 'no' / 'e.jpg'}" in str(error.value)


@pytest.mark.parametrize(("encoding", "line"), [("latin-1", 3), ("utf-16", 1)])
def test_raises_for_what_is_not_utf_8(root, encoding, line):
    write(root, HEADER + "a.jpg,anna,visible\nb.jpg,zoë,infrared\n", encoding)
    with pytest.raises(
        ValueError, match=rf"manifest\.csv:{line}: expected a text file; found bytes that are not UTF-8"
    ):
        read_index(root)


def test_splits_are_read_as_they_were_written(tmp_path):
    written = {"2": "train", "10": "test", 'quoted "a", b': "val", "Zoë Ø 王": "train", "NA": "test"}
    write_splits(written, tmp_path / "split.csv")
    assert list(read_splits(tmp_path / "split.csv").items()) == list(written.items())
    assert os.listdir(tmp_path) == ["split.csv"]


def test_a_manifest_of_real_images_says_what_their_folders_say(shared_folder):
    root = shared_folder / "real" / "kaist"
    assert sorted(read_manifest(root, with_splits=True)) == sorted(read_folders(root))
