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
        (["gray", "normalize"], 3, "expected a derivation behind normalize; found none"),
        (["normalize", "gray", "normalize", "green"], 3, "found 'normalize'; normalize stands once"),
        (["normalize", "gamma"], 1, r"expected one of identity, gray, .* \(of a normalized image\); found 'gamma'"),
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


def test_what_stands_behind_normalize_acts_on_the_normalized_image():
    stages = parse_stages(["brightness:0.4", "normalize", "random_channel:0.75", "gray"], 1)
    assert names(stages) == [("brightness", 0.4), ("random_channel", 0.75), ("gray", 1)]
    assert [stage.normalized for stage in stages] == [False, True, True]


def test_captured_images_have_stages_and_each_modality_its_own_erasing(tiny):
    own = [
        "augment.modalities.infrared.random_erasing_prob=0.5",
        "augment.modalities.infrared.random_erasing_fill=[1,2,3]",
    ]
    settings = load_config([*tiny, "augment.visible=[gray:0.5]", "augment.infrared=[normalize,green]", *own])
    views = views_in_use(settings)
    assert [names(view.stages) for view in views.values()][:2] == [[("gray", 0.5)], [("green", 1)]]
    assert [view.fill for view in views.values()] == [None, (1, 2, 3), None, None]
    assert [view.mixing for view in views.values()] == [None] * 4
    shared = views_in_use(load_config([*tiny, "augment.derivative_geometry=shared", *own]))
    assert [view.fill for view in shared.values()] == [None, (1, 2, 3), None, (1, 2, 3)]
    with pytest.raises(ValueError, match="augment.infrared: expected one of .*; found 'gray'"):
        views_in_use(load_config([*tiny, "augment.infrared=gray"]))


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
