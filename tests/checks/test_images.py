"""Bad and odd images: each kind has its line, and only its own."""

import shutil

import numpy as np
import pytest
from PIL import Image

from pipeline.checks.images import check_images
from pipeline.loading.images import FolderImages
from tests.datasets.reading import read_index

UNKNOWN = "not an image in a format that DALI decodes, or its header is damaged"


@pytest.fixture()
def root(people, tmp_path):
    return shutil.copytree(people, tmp_path / "set")


def problems(root, replaceable=False):
    index = read_index("folder", root)
    done = []
    found = list(
        check_images(index, FolderImages(index), np.full(len(index), replaceable), threads=2, advance=done.append)
    )
    assert sum(done) == len(index)
    return found


def image(**options):
    levels = np.random.default_rng(0).integers(0, 256, (8, 5, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize(options.get("size", (40, 100)))


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:1500])


def text(path):
    path.write_text("<html>not found</html>")


def broken_link(path):
    path.unlink()
    path.symlink_to("nowhere.jpg")


def folder(path):
    path.unlink()
    path.mkdir()


def huge(path):
    Image.new("L", (20_000, 10_000)).save(path)


BAD = [
    (empty, "the file is empty"),
    (truncated, "the image is damaged or cut short"),
    (text, UNKNOWN),
    (broken_link, "a link to a file that does not exist"),
    (folder, "a folder"),
    (huge, "more than 50 million pixels, no crop of a person"),
]


@pytest.mark.parametrize(("spoil", "reason"), BAD, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_image_is_an_error_with_its_path_and_reason(spoil, reason, root):
    path = sorted(root.glob("visible/*/*.jpg"))[5]
    spoil(path)
    (found,) = problems(root)
    assert str(found) == f"error: {path}: expected an image; found: {reason}; copy it again or take it out"


def test_all_bad_images_are_found_together_and_the_good_ones_are_not(root):
    paths = sorted(root.glob("*/*/*.jpg"))[:: 200 // len(BAD)]
    spoiled = dict(zip(paths, BAD[:-1], strict=False))
    for path, (spoil, _) in spoiled.items():
        spoil(path)
    assert {(found.where, found.what.split("found: ")[1].split(";")[0]) for found in problems(root)} == {
        (str(path), reason) for path, (_, reason) in spoiled.items()
    }


def test_an_image_that_training_replaces_is_a_warning(root):
    empty(sorted(root.glob("visible/*/*.jpg"))[5])
    assert [found.level for found in problems(root, replaceable=True)] == ["warning"]


def test_a_large_image_below_the_limit_of_decoding_is_named_by_its_size(root):
    path = sorted(root.glob("visible/*/*.jpg"))[5]
    Image.new("RGB", (9000, 6000)).save(path)
    (found,) = problems(root)
    assert found.level == "error" and "9000 x 6000 pixels, no crop of a person" in found.what


# ---------------------------------------------------------------- odd, yet usable


def sixteen_bits(path):
    Image.fromarray(np.arange(4000, dtype=np.uint16).reshape(100, 40)).save(path.with_suffix(".png"))
    path.unlink()


def one_pixel(path):
    image(size=(1, 1)).save(path)


def wide(path):
    image(size=(3000, 90)).save(path)


def without_color(path):
    image().convert("L").save(path)


def copied_within(path):
    shutil.copy(path, path.with_name("c1_copy.jpg"))


def copied_to_other_identity(path):  # both identities are in the same split
    shutil.copy(path, path.parents[1] / "0006" / "c1_copy.jpg")


def copied_to_other_modality(path):
    shutil.copy(path, path.parents[2] / "infrared" / path.parent.name / "c1_copy.jpg")


def copied_to_test(path):
    shutil.copy(path, path.parents[1] / "0001" / "c1_copy.jpg")


@pytest.mark.parametrize(
    ("spoil", "modality", "message"),
    [
        (sixteen_bits, "infrared", "expected 8 bits a channel; found more"),
        (one_pixel, "infrared", "expected 8 x 8 pixels or more; found fewer"),
        (wide, "visible", "expected crops of one person, at most 2000 pixels high and wide"),
        (without_color, "visible", "expected color in visible images; found one channel"),
        (copied_within, "visible", "expected once; found the same image twice of one identity"),
        (copied_to_other_identity, "visible", "expected once; found the same image under several identities"),
        (copied_to_other_modality, "visible", "expected once; found the same image as visible and as infrared"),
        (copied_to_test, "visible", "expected once; found the same image in test and in training"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_odd_image_is_a_warning_with_the_first_of_its_kind(spoil, modality, message, root):
    index = read_index("folder", root)
    names = index.drop_duplicates("name").set_index("name")["split"]
    assert (names["0005"], names["0006"], names["0001"]) == ("train", "train", "test")
    path = sorted((root / modality / "0005").glob("*.jpg"))[1]
    spoil(path)
    (found,) = problems(root)
    assert found.level == "warning" and found.where.startswith("1 images (first: ") and message in found.what
    assert str(path.with_suffix("")) in found.where


@pytest.mark.parametrize(
    ("mode", "suffix"), [("P", "png"), ("P", "bmp"), ("CMYK", "jpg"), ("RGBA", "png"), ("L", "bmp")]
)
def test_usual_images_in_unusual_formats_are_no_problem(mode, suffix, root):
    path = sorted(root.glob("infrared/*/*.jpg"))[3]
    path.unlink()
    image().convert(mode).save(path.with_suffix(f".{suffix}"))
    assert problems(root) == []
