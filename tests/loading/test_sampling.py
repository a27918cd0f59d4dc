from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dali_ops.parameters import ERASING, GEOMETRY, MIXING, applied, derivation
from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.loading.derivations import parse_stages
from pipeline.loading.sampling import plan_batch, sample_erasing, steps_per_epoch, training_table
from pipeline.settings import AugmentSettings, BatchSettings, ModalityAugmentSettings

V, IR, DV, DI = Modality
BATCH = BatchSettings(ids_per_batch=4, images_per_modality=3)
AUGMENT = AugmentSettings(height=32, width=16, pad=2, random_erasing_prob=0.5)
VIEWS = {
    V: View("visible"),
    IR: View("infrared"),
    DV: View("visible", parse_stages(["weighted_gray"], 3)),
    DI: View("infrared", parse_stages(["spectrum"], 1)),
}


def index_of(counts: dict[int, tuple[int, int]]) -> pd.DataFrame:
    """identity -> (visible images, infrared images); rows numbered from 100, as a part of a larger index is."""
    rows = [
        (identity, int(modality))
        for identity, images in counts.items()
        for modality, count in zip((V, IR), images, strict=True)
        for _ in range(count)
    ]
    frame = pd.DataFrame(rows, columns=["identity", "modality"])
    return frame.set_index(pd.RangeIndex(100, 100 + len(frame)))


INDEX = index_of({identity: (5, 4) for identity in range(10, 30)})
TABLE = training_table(INDEX, BATCH)


def plan(number=0, table=TABLE, views=None, batch=BATCH, augment=AUGMENT, seed=0, rank=0, ranks=1):
    return plan_batch(table, views or VIEWS, batch, augment, seed, number, rank, ranks)


def assert_equal(first, second):
    assert first.rows.keys() == second.rows.keys()
    for base in first.rows:
        np.testing.assert_array_equal(first.rows[base], second.rows[base])
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.parameters, second.parameters)


def test_a_batch_has_its_identities_with_as_many_images_of_each_captured_modality():
    for number in range(20):
        sampled = plan(number)
        labels = sampled.labels.reshape(4, 3)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0])) == 4
        for base in (V, IR):
            found = INDEX.loc[sampled.rows[base]]
            assert (found["modality"] == int(base)).all()
            np.testing.assert_array_equal(TABLE.identities[sampled.labels], found["identity"])
            assert len(set(sampled.rows[base])) == 12  # enough images: none is sampled twice


def test_a_plan_is_a_function_of_seed_and_number():
    assert_equal(plan(7), plan(7))
    assert (plan(7).labels != plan(8).labels).any()
    assert (plan(7).labels != plan(7, seed=1).labels).any()


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_shares_of_the_ranks_are_the_global_batch(ranks):
    whole = plan(3)
    shares = [plan(3, rank=rank, ranks=ranks) for rank in range(ranks)]
    np.testing.assert_array_equal(np.concatenate([share.labels for share in shares]), whole.labels)
    np.testing.assert_array_equal(np.concatenate([share.parameters for share in shares]), whole.parameters)
    for base in (V, IR):
        np.testing.assert_array_equal(np.concatenate([share.rows[base] for share in shares]), whole.rows[base])
    sets = [set(share.labels) for share in shares]
    assert sum(len(identities) for identities in sets) == len(set.union(*sets))


def test_switching_things_off_leaves_the_rest_as_it_was():
    whole = plan(5)
    fewer = plan(5, views={V: VIEWS[V], DI: VIEWS[DI]})
    np.testing.assert_array_equal(fewer.labels, whole.labels)
    np.testing.assert_array_equal(fewer.parameters[:, 0], whole.parameters[:, 0])
    np.testing.assert_array_equal(fewer.parameters[:, 1], whole.parameters[:, 3])
    plain = plan(5, augment=AugmentSettings(height=32, width=16, pad=2, random_erasing_prob=0))
    np.testing.assert_array_equal(plain.parameters[..., GEOMETRY], whole.parameters[..., GEOMETRY])
    assert (plain.parameters[..., ERASING] == 0).all()
    one_modality = BatchSettings(ids_per_batch=4, images_per_modality=3, modalities=["infrared", "infrared_derived"])
    infrared = plan(
        5, table=training_table(INDEX, one_modality), batch=one_modality, views={IR: VIEWS[IR], DI: VIEWS[DI]}
    )
    assert list(infrared.rows) == [IR]
    np.testing.assert_array_equal(infrared.rows[IR], whole.rows[IR])


def test_derivatives_share_or_draw_their_geometry():
    own = plan(5).parameters
    assert (own[:, 0, GEOMETRY] != own[:, 2, GEOMETRY]).any()
    shared = plan(
        5, augment=AugmentSettings(height=32, width=16, pad=2, random_erasing_prob=0.5, derivative_geometry="shared")
    ).parameters
    for base, derived in ((0, 2), (1, 3)):
        np.testing.assert_array_equal(shared[:, base, GEOMETRY], shared[:, derived, GEOMETRY])
        np.testing.assert_array_equal(shared[:, base, ERASING], shared[:, derived, ERASING])
    assert (shared[:, 2, derivation(0)] != 0).any() and (shared[:, 0, derivation(0)] == 0).all()


def test_a_modality_may_have_flip_and_erasing_of_its_own():
    own = ModalityAugmentSettings(hflip_prob=1.0, random_erasing_prob=1.0, random_erasing_area=(0.5, 0.6))
    augment = replace(AUGMENT, modalities={"infrared": own})
    plans = np.concatenate([plan(number, augment=augment).parameters for number in range(60)])
    as_before = np.concatenate([plan(number).parameters for number in range(60)])
    np.testing.assert_array_equal(np.delete(plans, 1, axis=1), np.delete(as_before, 1, axis=1))
    assert (plans[:, 1, 2] == 1).all() and 0.3 < plans[:, 0, 2].mean() < 0.7
    area = plans[:, 1, ERASING][:, 2:].prod(axis=1) / (32 * 16)
    assert (area > 0).mean() > 0.8 and area[area > 0].min() > 0.4 and area.max() < 0.7
    both = plan(5, augment=replace(augment, derivative_geometry="shared")).parameters
    np.testing.assert_array_equal(both[:, 1, ERASING], both[:, 3, ERASING])


def test_stages_have_parameters_and_chances_of_their_own():
    views = VIEWS | {DI: View("infrared", parse_stages(["gamma:0.3", "spectrum", "sharpness:0.8"], 1))}
    plans = [plan(number, views=views).parameters for number in range(150)]
    sampled = np.concatenate(plans)[:, 3]
    assert sampled.shape[1] == 23
    for number, probability in enumerate((0.3, 1, 0.8)):
        assert set(sampled[:, applied(number)]) <= {0.0, 1.0}
        assert abs(sampled[:, applied(number)].mean() - probability) < 0.04
        assert len(np.unique(sampled[:, derivation(number)], axis=0)) > 30
    both = sampled[:, applied(0)] * sampled[:, applied(2)]
    assert abs(both.mean() - 0.24) < 0.04  # independent of each other
    np.testing.assert_array_equal(plans[0][:, :3, :15], plan(0).parameters[:, :3])  # the other views are as they were


@pytest.mark.parametrize("mixing", ["cutmix", "patches"])
def test_mixing_takes_place_with_its_probability_and_inside_the_image(mixing):
    views = VIEWS | {DV: View("visible", VIEWS[DV].stages, mixing, 0.25)}
    plans = [plan(number, views=views).parameters for number in range(150)]
    sampled = np.concatenate(plans)
    assert (sampled[:, [0, 1, 3], MIXING] == 0).all()
    mixed = sampled[:, 2, MIXING]
    mixed = mixed[(mixed != 0).any(axis=1)]
    assert abs(len(mixed) / len(sampled) - 0.25) < 0.04
    if mixing == "cutmix":
        assert (mixed >= 0).all()
        assert (mixed[:, 0] + mixed[:, 2] <= 32).all() and (mixed[:, 1] + mixed[:, 3] <= 16).all()
    else:
        assert (mixed[:, 0] < 2**18).all() and (mixed[:, 1:] == 0).all() and len(np.unique(mixed)) > 300
    unmixed = np.delete(plans[0], np.r_[MIXING], axis=2)
    np.testing.assert_array_equal(unmixed, np.delete(plan(0).parameters, np.r_[MIXING], axis=2))


def test_geometry_and_erasing_stay_in_the_image_and_use_all_of_it():
    parameters = np.concatenate([plan(number).parameters.reshape(-1, 15) for number in range(200)])
    corners, flips, boxes = parameters[:, :2], parameters[:, 2], parameters[:, ERASING]
    assert set(np.unique(corners)) == set(range(5))
    assert abs(flips.mean() - 0.5) < 0.03 and set(flips) == {0.0, 1.0}
    erased = boxes[boxes[:, 2] > 0]
    assert abs(len(erased) / len(boxes) - 0.5) < 0.03
    assert (erased[:, 0] >= 0).all() and (erased[:, 0] + erased[:, 2] <= 32).all()
    assert (erased[:, 1] >= 0).all() and (erased[:, 1] + erased[:, 3] <= 16).all()


def test_erased_areas_and_aspects_keep_to_their_limits():
    augment = AugmentSettings(height=288, width=144, random_erasing_prob=1.0)
    boxes = sample_erasing(np.random.default_rng(0), 5000, augment)
    area, aspect = boxes[:, 2] * boxes[:, 3] / (288 * 144), boxes[:, 2] / boxes[:, 3]
    assert area.min() > 0.018 and area.max() < 0.41 and area.max() > 0.39
    assert aspect.min() > 0.28 and aspect.max() < 3.5


def test_too_few_images_are_repeated_each_as_often_or_refused():
    index = index_of({1: (2, 7), 2: (7, 7)})
    batch = BatchSettings(ids_per_batch=2, images_per_modality=4)
    rows = plan(0, table=training_table(index, batch), batch=batch).rows[V]
    _, counts = np.unique(rows[index.loc[rows, "identity"] == 1], return_counts=True)
    assert counts.tolist() == [2, 2]
    with pytest.raises(ValueError, match="identity 1: expected at least .* = 4 visible images .* found 2"):
        training_table(index, BatchSettings(ids_per_batch=2, images_per_modality=4, repeat_images=False))


def test_identities_missing_in_a_modality_are_left_out_and_too_few_are_refused():
    index = index_of({1: (3, 0), 2: (3, 3), 5: (3, 3)})
    two = BatchSettings(ids_per_batch=2)
    assert training_table(index, two).identities.tolist() == [2, 5]
    visible = BatchSettings(ids_per_batch=2, modalities=["visible_derived"])
    assert training_table(index, visible).identities.tolist() == [1, 2, 5]
    with pytest.raises(ValueError, match="visible and infrared images, 2; found 3"):
        training_table(index, BatchSettings(ids_per_batch=3))


@pytest.mark.parametrize(
    ("images", "arguments", "expected"),
    [
        ((100, 60), ["batch.ids_per_batch=3", "batch.images_per_modality=4"], 9),  # 100 / 12, rounded up
        ((22258, 11909), [], 696),  # SYSU-MM01, as in AGW's log
        ((22258, 11909), ["train.grad_accum_steps=10"], 70),
        ((22258, 11909), ["train.steps_per_epoch=40", "train.grad_accum_steps=10"], 40),
    ],
)
def test_an_epoch_draws_the_larger_modality_once(images, arguments, expected):
    assert steps_per_epoch(images, load_config(arguments)) == expected
