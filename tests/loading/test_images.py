import os

import numpy as np
import pandas as pd
import pytest

from pipeline.loading.images import FolderImages, undecodable


def images_of(*paths) -> FolderImages:
    return FolderImages(pd.DataFrame({"path": [str(path) for path in paths]}))


def missing(folder):
    return folder / "missing.jpg"


def broken_link(folder):
    (folder / "link.jpg").symlink_to(folder / "nowhere.jpg")
    return folder / "link.jpg"


def directory(folder):
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


def link_to_itself(folder):
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    return folder / "loop.jpg"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (missing, "the file does not exist"),
        (broken_link, "a link to a file that does not exist"),
        (directory, "a folder"),
        (link_to_itself, "Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read_says_why(make, reason, tmp_path):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        images_of(make(tmp_path)).read(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user, whom files can be kept from")
def test_a_file_without_permission_says_so_as_root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("private")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == 0 and parent != folder.anchor and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "a.jpg").chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(ValueError, match="^no permission to read the file$"):
            images_of(folder / "a.jpg").read(0)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.jpg").chmod(0)
    with pytest.raises(ValueError, match="^no permission to read the file$"):
        images_of(tmp_path / "a.jpg").read(0)


def test_undecodable_names_each_bad_row_once(people, tmp_path):
    good = sorted(people.glob("visible/*/*.jpg"))[:3]
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "cut.jpg").write_bytes(good[0].read_bytes()[:-200])
    (tmp_path / "empty.jpg").write_bytes(b"")
    text, cut, empty = (tmp_path / f"{name}.jpg" for name in ("text", "cut", "empty"))
    image_source = images_of(good[0], text, good[1], cut, missing(tmp_path), good[2], empty)
    found = list(undecodable(image_source, np.array([0, 1, 2, 3, 3, 4, 5, 1, 6]), "visible"))
    assert found == [
        (1, "not an image in a format that DALI decodes, or its header is damaged"),
        (3, "the image is damaged or cut short"),
        (4, "the file does not exist"),
        (6, "the file is empty"),
    ]
