import os

import pytest

from pipeline.files import current_umask, replace_atomically, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.csv"
    write_atomically(file, "old")

    def fail(unfinished):
        unfinished.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_atomically(file, fail)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    def write_for_owner_only(path):
        path.touch(mode=0o600)

    before = os.umask(0o027)
    try:
        replace_atomically(tmp_path / "file", write_for_owner_only)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert current_umask() == before
