import pandas as pd
import pytest

from pipeline.figures.labels import camera_label, fit, person_labels, run_label, width_of


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Zoë", "Zoë"),
        ("Łukasz Ωμέγα Жан", "Łukasz Ωμέγα Жан"),
        ("$x^2_", "$x^2_"),
        ("张伟", "7"),
        ("two\nlines", "7"),
        ("🙂", "7"),
        ("  ", "7"),
    ],
)
def test_a_person_is_called_by_name_or_by_number_where_the_font_lacks_a_letter(name, label):
    assert person_labels(pd.DataFrame({"identity": [7, 7], "name": [name, name]})) == {7: label}


def test_people_are_called_by_number_where_a_name_is_too_long_to_be_told_from_others():
    index = pd.DataFrame({"identity": [1, 2], "name": ["Ada", "person_0002"]})
    assert person_labels(index, most=7) == {1: "1", 2: "2"}
    assert person_labels(index, most=70) == person_labels(index) == {1: "Ada", 2: "person_0002"}
    assert person_labels(index[:1], most=7) == {1: "Ada"}


def test_people_without_names_are_called_by_number():
    assert person_labels(pd.DataFrame({"identity": [12, 3, 12]})) == {12: "12", 3: "3"}
    assert camera_label(0) == "camera unknown" and camera_label(3) == "camera 3"
    assert run_label("b2 张\n") == "b2 ??"


@pytest.mark.parametrize("width", [1, 3, 9, 20, 200])
def test_a_name_is_shortened_to_the_width_there_is_and_keeps_its_end(width):
    name = "person_of_the_second_floor_0012"
    short = fit(name, width, 7)
    assert width_of(short, 7) <= width or short == "…"
    assert short in (name, "…") or (short.startswith("p…") and name.endswith(short[2:]))
    if width == 9:
        assert short == "p…012"


def test_the_width_of_text_is_in_millimetres():
    assert width_of("0" * 10, 72) == pytest.approx(10 * 0.636 * 25.4, rel=0.01)  # DejaVu's digits are 0.636 em wide
