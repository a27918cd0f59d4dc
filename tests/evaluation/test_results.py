"""The rows of results.csv: added, read, and errors."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pandas as pd
import pytest

from pipeline.evaluation.results import (
    METRICS,
    RECORDED,
    append_rows,
    format_summary,
    read_rows,
    summarize,
)
from tests.evaluation.result_rows import row, sysu


def append_one(path, trial):
    append_rows(path, pd.DataFrame([row(trial=trial)]))


@pytest.fixture
def file(tmp_path):
    """A results.csv of three trials."""
    append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=n, value=10.0 * n) for n in (1, 2, 3)]))
    return tmp_path / "results.csv"


# ---------------------------------------------------------------- added


def test_rows_are_added_and_a_repeated_row_replaces_its_twin(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(trial=1, value=10.0), row(trial=2, value=20.0)]))
    append_rows(file, pd.DataFrame([row(trial=2, value=30.0), row(trial=1, mode="indoor", value=40.0)]))
    kept = read_rows(file)
    assert kept["mAP"].tolist() == [10.0, 30.0, 40.0]
    assert kept["config"].tolist() == ["00000012"] * 3 and kept["trial"].tolist() == [1, 2, 1]


def test_a_value_survives_the_file_to_the_last_digit(tmp_path):
    values = [100 / 3, 0.1 + 0.2, 7.000000000000001, 100.0]
    for trial, value in enumerate(values):
        append_rows(tmp_path / "results.csv", pd.DataFrame([row(trial=trial, value=value)]))
    assert read_rows(tmp_path / "results.csv")["mAP"].tolist() == values


@pytest.mark.multiprocess
def test_processes_that_append_at_once_lose_nothing(tmp_path):
    file = tmp_path / "results.csv"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(partial(append_one, file), range(20)))
    assert sorted(read_rows(file)["trial"]) == list(range(20))


def test_a_newer_versions_column_keeps_older_values_as_they_were_written(tmp_path):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([row(epoch=80, flip=False)]))
    append_rows(file, pd.DataFrame([row(trial=2, epoch=80, flip=False, fusion="none")]))
    append_rows(file, pd.DataFrame([row(trial=3, epoch=80)]))  # an older version again
    kept = read_rows(file)
    assert kept["epoch"].tolist() == ["80"] * 3 and kept["flip"].tolist() == ["False", "False", ""]
    assert kept["fusion"].tolist() == ["", "none", ""]


def test_rows_are_added_next_to_a_file_that_cannot_be_read(file):
    broken = file.read_text().replace("10.0", "ten")
    file.write_text(broken)
    with pytest.warns(UserWarning, match="line 2: rank_1: expected a number from 0 to 100; found 'ten'; kept as"):
        append_rows(file, pd.DataFrame([row(trial=9)]))
    assert read_rows(file)["trial"].tolist() == [9]
    (kept,) = file.parent.glob("results-unreadable-*.csv")
    assert kept.read_text() == broken


@pytest.mark.parametrize("column", RECORDED)
def test_columns_without_an_effect_neither_duplicate_a_row_nor_divide_a_mean(tmp_path, column):
    file = tmp_path / "results.csv"
    append_rows(file, pd.DataFrame([sysu("a-seed0", 1, 0, 10.0, **{column: "1"})]))
    append_rows(file, pd.DataFrame([sysu("a-seed0", 1, 0, 20.0, **{column: "4"})]))
    append_rows(file, pd.DataFrame([sysu("a-seed1", 1, 1, 40.0, **{column: "8"})]))
    rows = read_rows(file)
    assert rows["mAP"].tolist() == [20, 40] and rows[column].tolist() == ["4", "8"]
    means = summarize(rows)
    assert means["mAP"].tolist() == [30] and means[column].tolist() == ["4, 8"]
    assert column not in format_summary(means)


def test_rows_older_than_the_methods_labels_share_a_mean_and_are_replaced(tmp_path):
    file, labels = tmp_path / "results.csv", {"method": "agw", "method_source": "authors' code"}
    append_rows(file, pd.DataFrame([sysu("a-seed0", 1, 0, 10.0), sysu("a-seed1", 1, 1, 20.0)]))
    append_rows(file, pd.DataFrame([sysu("a-seed1", 1, 1, 40.0, **labels)]))
    assert read_rows(file)["mAP"].tolist() == [10, 40]
    means = summarize(read_rows(file))
    assert means["mAP"].tolist() == [25] and means[list(labels)].iloc[0].to_dict() == labels


# ---------------------------------------------------------------- read


def test_a_row_truncated_by_a_crash_is_left_out_with_a_warning(file):
    whole, header = file.read_text(), len(file.read_text().splitlines()[0])
    for end in range(header + 2, len(whole)):
        file.write_text(whole[:end])
        lines = whole[:end].count("\n") - 1
        if whole[end - 1] == "\n":
            assert len(read_rows(file)) == lines
        elif lines == 0:
            with pytest.warns(UserWarning, match="truncated it"), pytest.raises(ValueError, match="no rows of results"):
                read_rows(file)
        else:
            with pytest.warns(UserWarning, match=f"line {lines + 2} has no end"):
                assert read_rows(file)["mAP"].tolist() == [10.0, 20.0, 30.0][:lines]


FIELDS = 4 + len(METRICS)
EDITED = {
    "text": (("20.0", "n/a"), "line 3: rank_1: expected a number from 0 to 100; found 'n/a'"),
    "above 100": (("20.0", "2000"), "line 3: rank_1: expected a number from 0 to 100; found '2000'"),
    "negative": (("20.0", "-1"), "line 3: rank_1: expected a number from 0 to 100; found '-1'"),
    "not finite": (("20.0", "nan"), "line 3: rank_1: expected a number from 0 to 100; found 'nan'"),
    "decimal comma": (("20.0", '"20,0"'), "line 3: rank_1: expected a number from 0 to 100; found '20,0'"),
    "a blank": (("20.0", " "), "line 3: rank_1: expected a number from 0 to 100; found ' '"),
    "no trial": (("00000012,2", "00000012,"), "line 3: trial: expected a whole number; found nothing"),
    "trial": (("00000012,2", "00000012,two"), "line 3: trial: expected a whole number; found 'two'"),
    "a field less": ((",20.0", ""), f"line 3: expected {FIELDS} fields; found 4"),
    "a field more": (("30.0\n", "30.0,1\n"), f"line 4: expected {FIELDS} fields; found {FIELDS + 1}"),
    "a line of text": (
        ("a,all,00000012,3", "see below\na,all,00000012,3"),
        f"line 4: expected {FIELDS} fields; found 1",
    ),
    "a column less": (("trial", "trail"), "expected the columns of a results.csv; found 'run,mode,config"),
    "a column twice": (("mode", "run"), "with a name twice"),
    "a merge": (("a,all,00000012,2", "<<<<<<< ours\na,all,00000012,2"), f"line 3: expected {FIELDS} fields; found 1"),
    "an open quote": (("a,all,00000012,3", '"a,all,00000012,3'), "not a CSV file"),
}


@pytest.mark.parametrize("edit", EDITED)
def test_an_edited_file_is_an_error_in_one_line_that_says_where(file, edit):
    (before, after), message = EDITED[edit]
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    with pytest.raises(ValueError) as raised:
        read_rows(file)
    assert str(file) in str(raised.value) and message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (",".join(["run", "trial", *METRICS, "\n"]).encode(), "no rows of results"),
        (b"\xff\xfe\x00", "not a CSV file"),
        (b"PK\x03\x04 a spreadsheet", "expected the columns of a results.csv"),
    ],
)
def test_a_file_without_rows_is_an_error(tmp_path, content, message):
    (tmp_path / "results.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / "results.csv")


def test_a_spreadsheets_line_ends_and_byte_order_mark_are_read(file):
    before = read_rows(file)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_rows(file), before)


def test_a_folder_instead_of_the_file_is_an_error_in_a_line(tmp_path):
    (tmp_path / "results.csv").mkdir()
    with pytest.raises(ValueError, match=r"results\.csv: expected a file, or nothing yet; found a folder; remove it"):
        append_one(tmp_path / "results.csv", 1)
