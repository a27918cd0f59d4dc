"""What games have in common: stages, streams, and what they refuse."""

import dataclasses

import numpy as np
import pytest
import torch

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.loading.sampling import TrainingTable
from pipeline.loading.streams import Stream
from pipeline.methods.game import IMAGES, REID, pair_of
from pipeline.methods.method import Share, method_of
from tests.methods.games import SIZES, new_game, play, random_batch, small_settings
from tests.methods.toy_game import TOY

SMALL = [
    "model.backbone=resnet10t",
    "model.stems=shared",
    "model.pretrained=false",
    "augment.height=64",
    "augment.width=32",
    "batch.modalities=[visible,infrared]",
    f"method.type={TOY}",
    "losses.identity=null",
    "losses.intra=null",
    "losses.cross=null",
]


def resolve(*overrides):
    settings = load_config([*SMALL, *overrides])
    return method_of(settings).resolved(settings)


@pytest.fixture(scope="module")
def toy():
    return method_of(settings := resolve()).build(settings, 5, Share(0, (8,)))


def test_a_stage_is_a_function_of_the_step_and_all_steps_have_one(toy):
    names = [toy.stage_at(step, 20).name for step in range(20)]
    assert names == ["features"] * 5 + ["images"] * 5 + ["both"] * 10
    assert [toy.stage_at(step, 3).name for step in range(3)] == ["features", "images", "both"]
    toy.lengths, published = [5000, 10000, 10100], toy.lengths
    try:
        begins = {toy.stage_at(step, 25100).name: step for step in reversed(range(25100))}
    finally:
        toy.lengths = published
    assert begins == {"features": 0, "images": 5000, "both": 15000}


def test_a_stage_of_length_0_is_left_out():
    settings = resolve("method.stages=[0,1,0]")
    game = method_of(settings).build(settings, 5, Share(0, (8,)))
    assert {game.stage_at(step, 7).name for step in range(7)} == {"images"}


@pytest.mark.parametrize("lengths", ["[1,1]", "[0,0,0]"])
def test_lengths_that_fit_no_stages_are_refused(lengths):
    settings = resolve(f"method.stages={lengths}")
    with pytest.raises(
        ValueError, match=r"method\.stages: expected the lengths of features, images, both, one above 0"
    ):
        method_of(settings).build(settings, 5, Share(0, (8,)))


def test_the_stream_of_images_has_sizes_and_random_numbers_of_its_own():
    settings = resolve(
        "augment.random_erasing_prob=0.5", "method.image_batch.ids_per_batch=3", "method.image_batch.width=16"
    )
    streams = method_of(settings).streams(settings)
    assert streams[REID] == Stream(settings)
    images = streams[IMAGES].settings
    assert (images.batch.ids_per_batch, images.batch.images_per_modality) == (3, 4)
    assert (images.augment.height, images.augment.width) == (64, 16)
    assert (images.augment.pad, images.augment.random_erasing_prob, images.augment.hflip_prob) == (0, 0, 0.5)
    assert streams[IMAGES].tag != streams[REID].tag


def test_images_that_are_made_or_shown_are_whole_and_in_their_colors():
    own = ["augment.visible=[gray]", "augment.infrared=[normalize,green]", "augment.random_erasing_prob=0.5"]
    settings = resolve(*own, "augment.modalities.infrared.random_erasing_prob=1")
    streams = method_of(settings).streams(settings)
    plain, augmented = (method_of(settings).views(streams[name].settings) for name in (IMAGES, REID))
    assert [(view.stages, view.fill) for view in plain.values()] == [((), None)] * len(plain)
    assert all(view.stages and view.fill for view in augmented.values())


def table_of(identities, images=2):
    rows = [np.arange(images)] * identities
    return TrainingTable(np.arange(identities), {Modality.VISIBLE: rows, Modality.INFRARED: rows})


def test_images_that_may_not_be_repeated_must_suffice_for_each_stream():
    overrides = "batch.repeat_images=false", "method.image_batch.images_per_modality=3"
    settings = resolve(*overrides)
    stream = method_of(settings).streams(settings)[IMAGES]
    stream.check(table_of(8, images=3), ranks=1, even=True)
    with pytest.raises(ValueError, match=r"method\.image_batch\.images_per_modality: expected at most 2"):
        stream.check(table_of(8), ranks=1, even=True)


def test_a_stream_that_ranks_cannot_share_evenly_or_people_do_not_suffice_for():
    settings = resolve("method.image_batch.ids_per_batch=6")
    stream = method_of(settings).streams(settings)[IMAGES]
    stream.check(table_of(6), ranks=3, even=True)
    with pytest.raises(ValueError, match=r"method\.image_batch\.ids_per_batch: expected a multiple of the 4 processes"):
        stream.check(table_of(6), ranks=4, even=True)
    with pytest.raises(ValueError, match="two for each or more; found 6"):
        stream.check(table_of(6), ranks=6, even=True)
    with pytest.raises(ValueError, match="expected at most 5, the number of training identities; found 6"):
        stream.check(table_of(5), ranks=1, even=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.grad_accum_steps=2", "train.grad_accum_steps: expected 1"),
        ("train.compile=true", "train.compile: expected False"),
        ("train.precision=fp16", "train.precision: .* use bf16 or fp32"),
        ("model.grad_checkpointing=true", "model.grad_checkpointing: expected False"),
        (
            "batch.modalities=[visible,infrared,visible_derived]",
            r"batch.modalities: expected \['visible', 'infrared'\]",
        ),
        ("losses.identity.weight=1", "losses.identity: the method .* has its own; leave it out"),
        ("inserts.non_local.at=layer3", "inserts.non_local: the method .* has its own"),
        ("heads.stripes.count=2", "heads: the method .* has its own"),
        ("evaluation.fusion=mean", "evaluation.fusion: expected none"),
        ("evaluation.stems=mean", "evaluation.stems: expected own"),
        ("model.stems=source", "model.stems: expected shared"),
        ("optimizer.decay_norm_bias=false", "optimizer.decay_norm_bias: expected True"),
        ("optimizer.layer_decay=0.5", "optimizer.layer_decay: expected 1.0"),
    ],
)
def test_what_a_game_does_not_heed_is_refused_in_one_line(override, message):
    with pytest.raises(ValueError, match=message) as error:
        resolve(override)
    assert "\n" not in str(error.value)


def test_rows_of_a_pair_show_the_same_person():
    labels = torch.tensor([3, 3, 1, 1])
    images = torch.arange(8.0, dtype=torch.float32).view(8, 1, 1, 1).expand(8, 3, 2, 2).bfloat16()
    batch = Batch(images, labels.repeat(2), labels, labels, (0,) * 4 + (1,) * 4, labels)
    pair = pair_of(batch)
    assert pair.visible.dtype == torch.float32 and pair.infrared[0, 0, 0, 0] == 4
    assert pair.labels.tolist() == [3, 3, 1, 1] and len(pair.visible) == len(pair.infrared) == 4


def test_every_trained_parameter_has_one_player(toy):
    players = toy.players(resolve())
    held = [{id(parameter) for parameter in player.parameters} for player in players]
    trained = {id(parameter) for parameter in toy.parameters() if parameter.requires_grad}
    assert set().union(*held) == trained and sum(map(len, held)) == len(trained)


@pytest.mark.parametrize("override", ["validation.patience=3", "validation.selection=best"])
def test_weights_of_a_stage_without_identities_are_not_chosen(override):
    with pytest.raises(ValueError, match=override.partition("=")[0] + ": expected (null|last)"):
        resolve(override)
    assert resolve(override, "method.stages=[1,0,0]").method.stages == [1.0, 0.0, 0.0]


def test_the_length_matters_where_there_are_stages():
    assert resolve().method.depends_on_length and not resolve("method.stages=[0,1,0]").method.depends_on_length


@pytest.mark.parametrize("name", SIZES)
def test_a_discriminator_that_says_one_half_reports_its_chance(name):
    settings = small_settings(name, *SIZES[name])
    game, batch = new_game(settings), random_batch(0, identities=settings.batch.ids_per_batch // 2, images=2)
    for key, module in game.named_modules():
        if "discriminator" in key and isinstance(module, torch.nn.Conv2d) and module.out_channels == 1:
            module.register_forward_hook(lambda layer, inputs, output: 0 * output + 0.5)
    batch = dataclasses.replace(batch, images=batch.images.double())
    reported = {}
    for stage in game.stages():
        reported |= play(game, stage.name, dict.fromkeys(stage.streams, batch), settings)
    assert {key: reported[key].item() for key in game.chance} == pytest.approx(dict(game.chance))
