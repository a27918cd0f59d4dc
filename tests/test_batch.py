import pytest

from pipeline.batch import MODALITY_NAMES, Modality


def test_a_captured_modality_and_its_derivative_have_one_base():
    assert [modality.base for modality in Modality] == [0, 1, 0, 1]
    assert [modality.is_derived for modality in Modality] == [False, False, True, True]


def test_names_lead_to_modalities_and_back():
    assert [Modality.from_name(name).key for name in MODALITY_NAMES] == list(MODALITY_NAMES)
    with pytest.raises(ValueError, match="expected one of visible, .*; found 'thermal'"):
        Modality.from_name("thermal")
