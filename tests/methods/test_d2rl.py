"""D2RL: each stage moves what it should, exactly as plain loops written from the formulas do."""

import copy

import pytest
import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.methods.game import IMAGES, REID
from pipeline.methods.players import Players
from pipeline.models.image.discriminators import patch_discriminator_of_scales
from pipeline.models.image.unified import Translation
from pipeline.models.image.vae import Decoder, Encoder
from tests.methods.games import (
    IDENTITIES,
    SIZES,
    changed,
    new_game,
    play,
    players_of,
    random_batch,
    small_settings,
    weights_of,
)

TINY = [*SIZES["d2rl"], "method.width=2", "model.kwargs.channels=[8,8,8,16]", "model.kwargs.stem_width=8"]
BOTH = ("visible", "infrared")


def build(*overrides):
    settings = small_settings("d2rl", *TINY, *overrides)
    return settings, new_game(settings)


def batches():
    return {REID: random_batch(1, 2, 2), IMAGES: random_batch(2, 2, 2)}


class Plain:
    """The update rule once more: own losses, torch.autograd.grad and torch's optimizers."""

    def __init__(self, game, settings):
        game = copy.deepcopy(game)
        self.encoders, self.decoders = game.unified.translation.encoders, game.unified.translation.decoders
        self.judges, self.network, self.pixels = game.discriminators, game.unified.network, game.unified.pixels
        self.game, self.unify = game, settings.method.unify
        networks = {"translation": [self.encoders, self.decoders], "judges": [self.judges], "features": [self.network]}
        self.held = {
            name: [one for part in parts for one in part.parameters() if one.requires_grad]
            for name, parts in networks.items()
        }
        heads = [*self.network.heads.parameters()]
        body = [one for one in self.held["features"] if all(one is not other for other in heads)]
        heads = [one for one in heads if one.requires_grad]
        rates = [{"params": heads, "lr": 0.1}, {"params": body, "lr": 0.01}]
        adam = {"lr": 1e-4, "betas": (0.5, 0.999), "weight_decay": 1e-4}
        self.optimizers = {
            "features": torch.optim.SGD(rates, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
            "translation": torch.optim.Adam(self.held["translation"], **adam),
            "judges": torch.optim.Adam(self.held["judges"], **adam),
        }

    def move(self, **losses):
        """Each player down the gradient of its own loss, all gradients taken first."""
        gradients = {
            name: torch.autograd.grad(loss, self.held[name], retain_graph=True) for name, loss in losses.items()
        }
        for name, found in gradients.items():
            for parameter, gradient in zip(self.held[name], found, strict=True):
                parameter.grad = gradient
            self.optimizers[name].step()

    noisy = True

    def drawn(self, code):
        return code + torch.randn(code.shape, dtype=code.dtype) if self.noisy else code

    def levels(self, images):
        return 2 * (images * self.pixels.std + self.pixels.mean) - 1

    def normalized(self, levels):
        return ((levels + 1) / 2 - self.pixels.mean) / self.pixels.std

    def unified(self, data):
        visible, infrared = self.levels(data.images).chunk(2)
        made, mean, std = {}, self.pixels.mean, self.pixels.std
        if self.unify != "visible":
            code = self.drawn(self.encoders["visible"](visible))
            made["infrared"] = torch.cat([self.decoders["infrared"](code), infrared]).mean(dim=1, keepdim=True)
        if self.unify != "infrared":
            code = self.drawn(self.encoders["infrared"](infrared))
            made["visible"] = self.normalized(torch.cat([visible, self.decoders["visible"](code)]))
        if self.unify == "visible":
            return made["visible"]
        if self.unify == "infrared":
            return self.normalized(torch.cat([made["infrared"]] * 3, dim=1))
        fourth = ((made["infrared"] + 1) / 2 - mean.sum() / 3) / (std.sum() / 3)
        return torch.cat([made["visible"], fourth], dim=1)

    def of_features(self, images, data):
        output = self.network(images, data.modality)
        chosen = torch.log_softmax(output.logits, dim=1)[torch.arange(len(images)), data.label]
        features, hinges = output.pooled, []
        for anchor, label in enumerate(data.label.tolist()):
            distance = [(features[anchor] - other).square().sum().add(1e-300).sqrt() for other in features]
            positive = [d for d, other in zip(distance, data.label.tolist(), strict=True) if other == label]
            negative = [d for d, other in zip(distance, data.label.tolist(), strict=True) if other != label]
            hinges.append(torch.relu(0.3 + max(positive) - min(negative)))
        return -chosen.mean() + sum(hinges) / len(hinges)

    def of_images(self, data):
        """The loss of the translation, and that of the judges."""
        real = dict(zip(BOTH, self.levels(data.images).chunk(2), strict=True))
        loss, judging = 0, 0
        for own, other in (BOTH, BOTH[::-1]):
            code = self.encoders[own](real[own])
            drawn = self.drawn(code)
            made = self.decoders[other](drawn)
            again = self.encoders[other](made)
            loss = loss + 10 * (self.decoders[own](drawn) - real[own]).abs().mean() + 0.01 * (code**2).mean()
            cycled = self.decoders[own](self.drawn(again))
            loss = loss + 10 * (cycled - real[own]).abs().mean() + 0.01 * (again**2).mean()
            for judged in self.judges[other](made):
                loss = loss + ((judged - 1) ** 2).mean()
            for told_made, told_real in zip(
                self.judges[other](made.detach()), self.judges[other](real[other]), strict=True
            ):
                judging = judging + (told_made**2).mean() + ((told_real - 1) ** 2).mean()
        return loss, judging

    def images(self, data):
        loss, judging = self.of_images(data[IMAGES])
        self.move(translation=loss, judges=judging)

    def features(self, data):
        self.noisy = False
        self.move(features=self.of_features(self.unified(data[REID]).detach(), data[REID]))

    def joint(self, data):
        of_features = self.of_features(self.unified(data[REID]), data[REID])
        of_images, judging = self.of_images(data[IMAGES])
        self.move(features=of_features, translation=of_features + 0.1 * of_images, judges=judging)


def plays(game):
    return {stage.name: stage.play for stage in game.stages()}


@pytest.mark.parametrize(
    ("stage", "unify"),
    [("images", "multispectral"), ("features", "multispectral"), ("joint", "multispectral")]
    + [("features", "infrared"), ("features", "visible")],
)
def test_steps_of_a_stage_equal_a_plain_loop(stage, unify):
    settings, game = build(f"method.unify={unify}")
    plain, players = Plain(game, settings), players_of(game, settings)
    torch.manual_seed(5)
    for _ in range(2):  # the second step of Adam tells how large a gradient is
        players.begin()
        plays(game)[stage](batches(), players)
        players.end()
    torch.manual_seed(5)
    for _ in range(2):
        getattr(plain, stage)(batches())
    for (name, found), expected in zip(weights_of(game).items(), weights_of(plain.game).values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("stage", "moved"),
    [
        ("images", {"translation", "discriminators"}),
        ("features", {"network"}),
        ("joint", {"translation", "network", "discriminators"}),
    ],
)
def test_what_a_stage_does_not_train_stays_equal_to_the_bit(stage, moved):
    settings, game = build()
    before = [weights_of(part) for part in (game, game.unified)]
    play(game, stage, batches(), settings)
    found = changed(game, before[0]) - {"unified"} | changed(game.unified, before[1])
    assert found == moved


class Kept(Players):
    """Moves nobody, and keeps what would have moved each parameter."""

    def begin(self):
        super().begin()
        self.found = {}

    def step(self, *names):
        for name in names:
            self.found |= {one: one.grad for one in self.by_name[name].parameters if one.grad is not None}
            self.by_name[name].optimizer.zero_grad()
        self._waiting -= set(names)


def test_the_loss_of_features_reaches_the_encoders_in_the_joint_stage_only():
    settings, game = build("method.joint_image_weight=0")
    players = Kept(game.players(settings))
    translation = {*game.unified.translation.parameters()}
    plays(game)["features"](batches(), players)
    assert players.found and not translation & players.found.keys()
    assert all(parameter.grad is None for parameter in translation)
    players.begin()
    plays(game)["joint"](batches(), players)
    for modality in BOTH:
        first = next(game.unified.translation.encoders[modality].parameters())
        assert players.found[first].abs().max() > 1e-6
    assert translation <= players.found.keys()


def test_rates_by_epoch():
    settings, game = build("method.stages=[3,5,2]", "train.epochs=10", "optimizer.milestones=[4]")
    rates = {
        player.name: [player.schedule(epoch) for epoch in (0, 3.9, 4, 7.99, 8, 9.9)]
        for player in game.players(settings)
    }
    assert rates["features"] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert rates["translation"] == rates["discriminators"] == [1, 1, 1, 1, 0.1, 0.1]
    assert [game.stage_at(step, 100).name for step in (0, 29, 30, 79, 80, 99)] == [
        *["images"] * 2,
        *["features"] * 2,
        *["joint"] * 2,
    ]
    assert next(iter(game.players(settings))).optimizer.param_groups[0]["initial_lr"] == pytest.approx(0.01)


def test_every_trained_parameter_has_one_optimizer_and_the_heads_a_group():
    settings, game = build("optimizer.decay_norm_bias=false")
    players = game.players(settings)
    held = [id(one) for player in players for one in player.parameters]
    assert sorted(held) == sorted(id(one) for one in game.parameters() if one.requires_grad)
    groups = {group["name"]: group for group in players[0].optimizer.param_groups}
    assert groups["heads"]["lr"] == 0.1 and groups["backbone.no_decay"]["weight_decay"] == 0


def test_shown_and_translated_images_have_their_sizes_and_change_no_state():
    _, game = build()
    visible, infrared = random_batch(1).images.chunk(2)
    before, state = weights_of(game.eval()), torch.get_rng_state()
    with torch.no_grad():
        rows = game.shown(visible, infrared)
        to_infrared = game.translate(visible, Modality.VISIBLE)
        to_visible = game.translate(infrared, Modality.INFRARED)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in weights_of(game).items())
    assert [*rows] == [*("visible", "to infrared", "visible again", "infrared", "to visible", "infrared again")]
    assert {row.shape for row in rows.values()} == {visible.shape} and max(map(len, rows)) <= 16
    assert torch.equal(to_infrared, rows["to infrared"]) and torch.equal(to_visible, rows["to visible"])
    assert torch.equal(rows["visible"], visible) and torch.equal(rows["infrared"], infrared)


def test_what_is_tested_loads_into_a_network_built_for_testing():
    settings, game = build()
    tested = type(game).build_tested(settings, IDENTITIES, weights=False).double().eval()
    tested.load_state_dict(game.tested.state_dict())
    data = random_batch(1)
    found, expected = tested(data.images, data.modality), game.eval().tested(data.images, data.modality)
    assert torch.equal(found.embedding, expected.embedding) and found.logits is None and tested.origin == "random"
    assert torch.equal(game.embed(data.images, data.modality), expected.embedding)


def test_the_shipped_networks_have_as_many_parameters_as_units_code():
    settings = load_config(["configs/methods/d2rl.yaml", "model.pretrained=false", "model.backbone=resnet10t"])
    with torch.device("meta"):
        translation = Translation(settings.method.width, settings.method.blocks)
        judge = patch_discriminator_of_scales(settings.method.scales, settings.method.width)
    assert count(translation) == 2 * (count(Encoder()) + count(Decoder())) == 2 * (5_385_856 + 5_754_627)
    assert count(judge) == 8_271_171
    _, game = build()
    channels = [module.in_channels for module in game.unified.network.modules() if isinstance(module, nn.Conv2d)]
    assert channels[0] == 4


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.stems=source", "model.stems: expected shared for the method d2rl, .*; found source"),
        (
            "augment.height=66",
            "augment.height, augment.width: expected sides that are multiples of 4, .* found 66 x 32",
        ),
        ("method.image_batch.width=18", r"method\.image_batch, method\.scales: expected sides that are multiples of 4"),
        (
            "method.scales=3",
            r"method\.image_batch, method\.scales: expected sides that are multiples of 4, from 64 up; found 64 x 32",
        ),
        ("model.backbone=vit_tiny_patch16_224", r"model\.backbone: a first convolution is known of .* found Vision"),
        ("method.unify=both", "method.unify: "),
        ("method.stages=[1,1]", "method.stages: expected the lengths of images, features, joint"),
        ("losses.identity.weight=1", "losses.identity: the method d2rl.* has its own"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override, message):
    with pytest.raises(ValueError, match=message) as error:
        new_game(small_settings("d2rl", *SIZES["d2rl"], override))
    assert "\n" not in str(error.value)
