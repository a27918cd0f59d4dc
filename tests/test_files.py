import pytest

from pipeline.files import replace_atomically, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.csv"
    write_atomically(file, "old")

    def fail(unfinished):
        unfinished.write_text("half")
        raise OSError("disc full")

    with pytest.raises(OSError, match="disc full"):
        replace_atomically(file, fail)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
