import pytest

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.loading.derivations import derivations, parse_stages, views_in_use

V, IR, DV, DI = Modality


def names(stages):
    return [(stage.derivation.name, stage.probability) for stage in stages]


def test_arguments_become_stages():
    assert names(parse_stages(["weighted_gray", "gamma:0.5"], 3)) == [("weighted_gray", 1), ("gamma", 0.5)]
    assert names(parse_stages(["gray", "spectrum"], 3)) == [("gray", 1), ("spectrum", 1)]


@pytest.mark.parametrize(
    ("texts", "channels", "message"),
    [
        ([], 3, "expected one derivation or more .*; found none"),
        (
            ["grey"],
            3,
            r"expected one of identity, gray, .* \(of an image of 3 channels\); found 'grey'; the nearest is gray",
        ),
        (["spectrum"], 3, "found 'spectrum'"),
        (["gray"], 1, r"\(of an image of 1 channel\); found 'gray'"),
        (["spectrum", "clahe"], 1, r"3 channels\); found 'clahe'"),
        (["gray:0.5", "clahe"], 3, r"3 channels\); found 'clahe'"),
        (["gray", "learned"], 3, "found 'learned'; learned stands alone"),
        (["gray:0"], 3, "expected NAME or NAME:PROBABILITY with a probability above 0 and at most 1; found 'gray:0'"),
        (["gray:1.5"], 3, "found 'gray:1.5'"),
        (["gray:often"], 3, "found 'gray:often'"),
        (["gray:"], 3, "found 'gray:'"),
        (["gray:nan"], 3, "found 'gray:nan'"),
    ],
)
def test_impossible_arguments_are_refused(texts, channels, message):
    with pytest.raises(ValueError, match=message):
        parse_stages(texts, channels)


def test_the_key_is_named(tiny):
    with pytest.raises(ValueError, match="derive.infrared: expected one of .*; found 'gray'"):
        derivations(load_config([*tiny, "derive.infrared=gray"]))


def test_a_size_that_a_derivation_cannot_take_is_refused_with_the_key(tiny):
    arguments = [*tiny, "derive.infrared=[gamma,clahe]", "augment.height=36"]
    with pytest.raises(ValueError, match=r"derive.infrared: clahe: expected .* found height 36, width 16"):
        derivations(load_config(arguments))
    derivations(load_config([*arguments, "augment.height=40"]))


def test_settings_become_views(tiny):
    settings = load_config([*tiny, "derive.visible=learned", "derive.infrared=[clahe,spectrum:0.5]"])
    assert derivations(settings)[DV] is None
    views = views_in_use(settings)
    assert list(views) == [V, IR, DV, DI]
    assert [view.base for view in views.values()] == ["visible", "infrared", "visible", "infrared"]
    assert [names(view.stages) for view in views.values()] == [[], [], [], [("clahe", 1), ("spectrum", 0.5)]]


def test_only_derived_images_are_mixed(tiny):
    settings = load_config([*tiny, "derive.mixing=cutmix", "derive.mixing_probability=0.3"])
    views = views_in_use(settings)
    assert [view.mixing for view in views.values()] == [None, None, "cutmix", "cutmix"]
    assert views[DV].mixing_probability == 0.3


def test_a_modality_that_is_not_in_use_has_no_view_but_its_arguments_are_read(tiny):
    settings = load_config([*tiny, "batch.modalities=[visible,infrared]", "losses.cross.pairs=[[visible,infrared]]"])
    assert list(views_in_use(settings)) == [V, IR]
    with pytest.raises(ValueError, match="derive.visible"):
        derivations(load_config([*tiny, "batch.modalities=[visible,infrared]", "derive.visible=grey"]))
