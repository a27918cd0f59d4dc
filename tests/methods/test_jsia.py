"""JSIA: its steps equal the formulas, each loss reaches its own, and it is a network of gray images where nothing is
generated."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.methods.game import IMAGES, REID
from pipeline.methods.method import Share, method_of
from pipeline.methods.players import Players
from pipeline.models.backbone import create_backbone
from pipeline.models.image.jsia import CONTENT, INSTANCE, Generator, GeneratorSizes, GrayNetwork
from pipeline.models.pooling import Pooling
from tests.methods.jsia_reference import Reference

SMALL = ["configs/methods/jsia.yaml", "model.backbone=resnet10t", "model.pretrained=false"]
SMALL += ["model.kwargs={channels: [8, 16, 16, 32], stem_width: 4}"]
SMALL += ["augment.height=64", "augment.width=32", "method.image_batch.height=32", "method.image_batch.width=16"]
SMALL += ["method.generator.width=4", "method.generator.depth=2", "method.generator.style=6"]
SMALL += ["method.generator.hidden=8", "method.generator.blocks=1"]
SMALL += ["method.discriminator.width=4", "method.discriminator.depth=2"]
IDENTITIES = 5
NOTHING = [f"method.{name}=0" for name in ("adversarial", "reconstruction", "cycle", "feature", "pair")]


def build(*overrides, seed=0):
    settings = load_config([*SMALL, *overrides])
    settings = method_of(settings).resolved(settings)
    torch.manual_seed(seed)
    return settings, method_of(settings).build(settings, IDENTITIES, Share(0, (3,))).train()


def batch(height, width, seed, people=3, images=2):
    """Random images of some people in both modalities, aligned."""
    labels = torch.arange(people).repeat_interleave(images).repeat(2)
    modality = tuple(int(base) for base in (Modality.VISIBLE, Modality.INFRARED) for _ in range(people * images))
    pixels = torch.randn(len(labels), 3, height, width, generator=torch.Generator().manual_seed(seed))
    return Batch(pixels, labels, labels, labels % 2 + 1, modality, labels)


BATCHES = {IMAGES: batch(32, 16, 1), REID: batch(64, 32, 2)}


def stage(game, number):
    return game.stages()[number].play


def play(game, settings, number):
    """The metrics of a step of a stage."""
    players = Players(game.players(settings))
    parts = stage(game, number)(BATCHES, players)
    players.end()
    return parts


def state(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def changed(module, before):
    """Names of the parameters that are others than before."""
    return {name for name, one in module.named_parameters() if not torch.equal(one, before[name])}


@pytest.fixture(scope="module")
def small():
    return build()


@pytest.mark.parametrize("number", [0, 1], ids=["warm_up", "joint"])
def test_two_steps_of_a_stage_equal_the_formulas(number, small):
    settings, game = small[0], copy.deepcopy(small[1]).double()
    twin = copy.deepcopy(game)
    reference = Reference(twin, settings.augment.mean, settings.augment.std, (4.5e-4, 1e-4), (5e-4, 1e-4))
    players = Players(game.players(settings))
    visible, infrared, *reid = (half.double() for name in (IMAGES, REID) for half in BATCHES[name].images.chunk(2))
    for _ in range(2):
        parts = stage(game, number)(BATCHES, players)
        if number:
            reference.joint(visible, infrared, *reid, BATCHES[REID].label[:6])
        else:
            reference.warm_up(visible, infrared)
        for name, value in reference.reported.items():
            torch.testing.assert_close(parts[name], value.detach(), rtol=1e-10, atol=1e-10)
        expected = state(twin)
        torch.testing.assert_close(state(game), expected, rtol=1e-10, atol=1e-10)


def test_in_the_warm_up_the_network_keeps_its_weights_and_takes_statistics_of_content_alone(small):
    settings, game = small[0], copy.deepcopy(small[1])
    before = state(game)
    parts = play(game, settings, 0)
    moved = changed(game, before)
    assert moved and all(name.startswith("exchange.") for name in moved)
    assert {name for name, _ in game.exchange.named_parameters(prefix="exchange")} == moved
    means = {name for name, tensor in state(game).items() if "running_mean" in name and tensor.ne(before[name]).any()}
    assert {name.split(".")[2] for name in means} == {"conv1", "bn1", "layer1"}
    assert {*parts} == {"adversarial", "reconstruction", "cycle", "feature", "discriminators"}
    assert not any(value.requires_grad for value in parts.values())


@pytest.mark.parametrize(
    ("weight", "reached"),
    [
        ("feature", {"exchange.generators"}),
        ("reconstruction", {"exchange.generators", "content"}),
        ("cycle", {"exchange.generators", "content"}),
        ("adversarial", {"exchange.generators", "content"}),
        ("pair", {"content", "instance"}),
        ("label_smoothing", {"content", "instance"}),
    ],
)
def test_a_loss_reaches_its_players_and_no_other_bit(weight, reached, small):
    optimizer = replace(small[0].optimizer, name="sgd", momentum=0.0)
    ends = []
    for value in (0, 0.7):
        game = with_options(small[1], **{weight: value})
        play(game, replace(small[0], optimizer=optimizer), 1)
        ends.append(game)
    assert {part_of(name) for name in changed(ends[1], state(ends[0]))} == reached


def with_options(game, **changes):
    game = copy.deepcopy(game)
    game.options = replace(game.options, **changes)
    return game


def part_of(name):
    if name.startswith("exchange."):
        return ".".join(name.split(".")[:2])
    return "content" if name.split(".")[2] in CONTENT else "instance"


def test_what_is_to_be_seen_again_leaves_the_content_encoder(small):
    """J2: its gradient is that of images, pairs and identities."""
    gradients = []
    for weight in (5, 0):
        game = with_options(small[1], feature=weight)
        players = Players(game.players(small[0]))
        players.step = lambda *names: None
        game.learn_all(BATCHES, players)
        gradients.append([one.grad for one in game.network.parameters_of(CONTENT)])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))
    assert all(one.abs().sum() > 0 for one in gradients[0][:1])


def test_without_images_it_is_a_network_of_gray_images():
    settings, game = build(*NOTHING, "method.stages=[0,1]")
    assert [one.streams for one in game.stages()][1] == (REID,) and game.stage_at(0, 7).name == "joint"
    game.double()
    twin, before = copy.deepcopy(game.network), state(game)
    parts = play(game, settings, 1)
    optimizer = torch.optim.Adam([one for one in twin.parameters() if one.requires_grad], 4.5e-4, weight_decay=5e-4)
    pixels, labels = BATCHES[REID].images.double().chunk(2), BATCHES[REID].label[:6]
    (v, logits_v), (i, logits_i) = (twin.learned(images) for images in pixels)
    losses = [functional.cross_entropy(logits, labels, label_smoothing=0.1) for logits in (logits_v, logits_i)]
    distance, same = torch.cdist(v, i), labels[:, None] == labels
    for matrix in (distance, distance.T):
        positive, negative = matrix.masked_fill(~same, 0).amax(1), matrix.masked_fill(same, torch.inf).amin(1)
        losses.append((0.3 + positive - negative).relu().mean())
    loss = sum(losses) / 2
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(parts["identity"] + parts["triplet"], loss.detach())
    torch.testing.assert_close(state(game.network), state(twin))
    assert not any(name.startswith("exchange") for name in changed(game, before))


def test_color_makes_no_difference_to_the_tested_network_nor_does_the_modality(small):
    settings, game = small
    network = copy.deepcopy(game.tested).eval()
    images = torch.randn(4, 3, 64, 32)
    gray = sum(weight * images[:, [channel]] for channel, weight in enumerate((0.2989, 0.5870, 0.1140)))
    first, second = network(images, (0, 0, 1, 1)), network(gray.expand(-1, 3, -1, -1) / 0.9999, (1, 1, 1, 0))
    torch.testing.assert_close(first.embedding, second.embedding)
    assert first.logits is None and first.embedding.shape == (4, 32)
    torch.testing.assert_close(game.tested.eval()(images, (0,) * 4).embedding, first.embedding)
    game.train()


def test_its_content_has_negative_values_before_the_first_stage(small):
    backbone, seen = copy.deepcopy(small[1].network), []
    backbone.backbone.layer1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    backbone.content(torch.randn(2, 3, 64, 32))
    assert seen[0].min() < 0


def test_weights_of_the_tested_network_are_loaded_into_one_that_is_built_for_testing(small):
    settings, game = small
    bare = type(game).build_tested(settings, IDENTITIES, weights=False)
    assert bare.load_state_dict(game.tested.state_dict()) and bare.origin == game.tested.origin
    addresses = [tensor.data_ptr() for tensor in game.state_dict().values() if tensor.numel()]
    assert len({*addresses}) == len(addresses)


def test_every_trained_parameter_has_one_player_and_its_rate():
    settings, game = build("model.pooling=gem", "model.pool_power_trained=true", "optimizer.heads_lr_mult=2")
    players = game.players(settings)
    held = [parameter for player in players for parameter in player.parameters]
    assert {*held} == {one for one in game.parameters() if one.requires_grad} and len({*held}) == len(held)
    groups = {group["name"]: group["lr"] for player in players for group in player.optimizer.param_groups}
    fast, image = 2 * 4.5e-4, 1e-4
    assert groups == {
        **{"heads": fast, "heads_pooling": fast, "backbone": 4.5e-4, "content": 4.5e-4},
        **{"generators": image, "discriminators": image},
    }
    assert players[0].name == "instance" and "heads" in {group["name"] for group in players[0].optimizer.param_groups}


def test_norms_that_keep_their_statistics_are_all_of_the_backbone(small):
    game = small[1]
    assert {*game.pretrained_norms()} < {
        *game.network.modules()
    } and game.network.head.neck not in game.pretrained_norms()


def test_a_discriminator_that_says_one_half_reports_its_chance(small):
    settings, game = small[0], copy.deepcopy(small[1])
    for discriminator in game.exchange.discriminators.values():
        for network in discriminator.networks:
            last = [*network.modules()][-1]
            torch.nn.init.zeros_(last.weight)
            torch.nn.init.constant_(last.bias, 0.5)
    assert play(game, settings, 0)["discriminators"] == game.chance["discriminators"]


def test_sizes_are_those_of_the_authors_code():
    """J1: 1,380,802 each for the discriminators is tested with them."""
    backbone = create_backbone("resnet50", height=64, width=32, pretrained=False, weights=None, last_stride=1)
    network = GrayNetwork(backbone, Pooling("average"), 395, 64, 32)
    assert (network.channels, network.reduction) == (256, 4)
    assert count(network.parameters_of(CONTENT)) == 9408 + 128 + 215808
    assert count([*network.parameters_of(CONTENT), *network.parameters_of(INSTANCE)]) == 23508032
    assert count(network.head_parameters()) == 2048 + 2048 * 395
    generator = Generator(network.channels, GeneratorSizes())
    sizes = [count(part.parameters()) for part in (generator.style, generator.decoder, generator.norms)]
    assert sizes == [709824, 3198723, 625152]


def count(parameters):
    return sum(parameter.numel() for parameter in parameters)


def test_the_shipped_recipe_has_the_sizes_and_the_schedule_of_the_authors_code():
    settings = load_config(["configs/methods/jsia.yaml"])
    options = settings.method
    defaults = type(options)(type="jsia", name="jsia", source="authors' code", published="JSIA")
    assert options == defaults
    players = type(build()[1]).streams(settings)
    assert (players[IMAGES].settings.augment.height, players[IMAGES].settings.augment.width) == (128, 64)
    steps = settings.train.epochs * settings.train.steps_per_epoch
    assert round(steps * options.stages[0] / sum(options.stages)) == 120_000 and steps == 130_000
    assert [epoch * settings.train.steps_per_epoch for epoch in settings.optimizer.milestones] == [126_000]


def test_it_shows_what_it_generates_and_changes_nothing(small):
    settings, game = small
    game.eval()
    before, numbers = state(game), torch.get_rng_state()
    visible, infrared = BATCHES[IMAGES].images.chunk(2)
    with torch.no_grad():
        rows = game.shown(visible, infrared)
        to_infrared = game.translate(visible[:4], Modality.VISIBLE, infrared[:1])
        content = game.network.content(visible)
    names = ["visible again", "to infrared", "back to visible", "infrared", "infrared again", "to visible"]
    assert [*rows] == ["visible", *names, "back to infrared"] and max(map(len, rows)) <= 16
    assert all(images.shape == visible.shape for images in rows.values())
    assert torch.equal(rows["visible"], visible) and torch.equal(rows["infrared"], infrared)
    assert to_infrared.shape == (4, 3, 32, 16)
    torch.testing.assert_close(to_infrared[0], rows["to infrared"][0])
    generator, pixels = game.exchange.generators["visible"], game.exchange.pixels
    again = pixels.normalized(generator(content, generator.style(pixels.signed(visible))))
    torch.testing.assert_close(rows["visible again"], again)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(game).items())
    assert torch.equal(torch.get_rng_state(), numbers)
    with pytest.raises(ValueError, match="^style: expected an image that is visible, for its style; found none$"):
        game.translate(infrared, Modality.INFRARED)
    game.train()


def test_a_generated_person_keeps_the_style_of_the_row_and_not_of_its_neighbor(small):
    game = copy.deepcopy(small[1]).eval()
    visible, infrared = BATCHES[IMAGES].images.chunk(2)
    other = infrared.clone()
    other[0] = other[0] * 0.5
    first, second = (game.shown(visible, images)["to infrared"] for images in (infrared, other))
    assert not torch.allclose(first[0], second[0])
    torch.testing.assert_close(first[1:], second[1:])


def test_a_backbone_that_is_no_resnet_is_refused():
    settings = load_config(["configs/methods/jsia.yaml", "model.backbone=convnext_atto", "model.pretrained=false"])
    with pytest.raises(ValueError, match="^model.backbone: expected a ResNet, which JSIA cuts in two; found ConvNeXt$"):
        method_of(settings).build_tested(settings, IDENTITIES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["method.image_batch.height=64"],
            "method.image_batch.height, width: expected 32 and 16, which method.generator.ups=1 makes",
        ),
        (["method.image_batch.width=null"], "method.image_batch.height, width: expected 32 and 16, .* found 32 and 32"),
        (["method.discriminator.depth=4"], "method.discriminator.depth: expected at most 4 halvings of images of 32 x"),
        (["method.generator.depth=5"], "method.generator.depth: expected at most 4 halvings"),
        (["model.stems=source"], "model.stems: expected shared for the method jsia, .*; found source"),
        (["method.stages=[1]"], "method.stages: expected the lengths of warm_up, joint"),
        (NOTHING, "method.stages: expected 0 for warm_up, as all weights of images are 0"),
        (["method.pair=-1"], "method.pair: "),
        (["method.generator.blocks=0"], "method.generator.blocks: "),
        (["losses.identity.weight=1"], "losses.identity: the method jsia.* has its own"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(overrides, message):
    with pytest.raises(ValueError, match=message) as error:
        build(*overrides)
    assert "\n" not in str(error.value)
