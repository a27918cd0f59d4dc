"""Hi-CMD, on a small network: a step is what its formulas say, and each loss reaches those it is for."""

import pytest
import torch
from torch import nn

from pipeline.batch import Batch, Modality
from pipeline.config import load_config
from pipeline.methods import hicmd_losses
from pipeline.methods.game import IMAGES
from pipeline.methods.hicmd_losses import both_triplets, codes_of, discriminator_losses, imitated, people_of
from pipeline.methods.method import Share, method_of
from pipeline.methods.players import Players
from pipeline.models.image.discriminators import residual_discriminator_of_scales
from pipeline.models.image.disentangled import of_each
from pipeline.models.image.exchange import Imitations
from tests.methods.plain_hicmd import INFRARED, VISIBLE, Plain, half_erased, triplet_loop

OTHER = {VISIBLE: INFRARED, INFRARED: VISIBLE}
PEOPLE, IDENTITIES, SIDES = 6, 9, (32, 32)
SMALL = [
    "configs/methods/hicmd.yaml",
    "model.backbone=resnet10t",
    "model.kwargs.channels=[8,12,16,32]",
    "model.last_stride=1",  # the norms of two images see more than two places
    "model.pretrained=false",
    f"augment.height={SIDES[0]}",
    f"augment.width={SIDES[1]}",
    "method.dilations=[1,3]",
    "method.width=4",
    "method.blocks=2",
    "method.scales=2",
    "method.embedding=12",
    "method.triplet_width=10",
]


def build(*overrides, identities=(PEOPLE,), arguments=SMALL):
    """The settings and the method, from torch's seed 0, in training mode."""
    settings = load_config([*arguments, *overrides])
    kind = method_of(settings)
    settings = kind.resolved(settings)
    torch.manual_seed(0)
    return settings, kind.build(settings, IDENTITIES, Share(0, identities)).train()


def batch(dtype=torch.float64, images=1):
    torch.manual_seed(1)
    labels = torch.tensor([7, 2, 5, 0, 8, 3]).repeat_interleave(images).repeat(2)
    modality = (0,) * (PEOPLE * images) + (1,) * (PEOPLE * images)
    pixels = torch.randn(len(labels), 3, *SIDES, dtype=dtype)
    return Batch(pixels, labels, labels, labels, modality, labels)


@pytest.fixture
def exact():
    """In float64, with weights as large as trained ones, without numbers drawn in a step."""
    settings, game = build("method.dropout=0", "augment.random_erasing_prob=0")
    game.double()
    for parameter in (*game.classifier.parameters(), *game.discriminators.parameters()):
        nn.init.normal_(parameter, std=0.2)
    for norm in game.pretrained_norms():  # the last one of a block starts at 0
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    game.erase = half_erased
    return settings, game


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    """The names of those of its networks of which any number isn't what it was."""
    now = module.state_dict()
    return {name.split(".")[0] for name in before if not torch.equal(now[name], before[name])}


# ---- a step, by its formulas


def test_a_step_equals_a_plain_loop(exact):
    settings, game = exact
    plain, players, before = Plain(game), Players(game.players(settings)), state_of(game)
    game.play({IMAGES: batch()}, players)
    expected = [loss.float() for loss in plain.step(batch())]
    torch.testing.assert_close(players.loss, sum(expected), rtol=1e-6, atol=0)
    assert changed(game, before) == {"network", "decoder", "discriminators", "compared", "classifier"}
    state = plain.game.state_dict()
    for name, found in game.state_dict().items():
        # A norm takes away what a bias in front of it adds. Its gradient is rounding, which Adam magnifies.
        atol = 1e-8 if name.endswith("bias") and ("prototypes" in name or "decoder.blocks" in name) else 1e-10
        assert torch.allclose(found, state[name], rtol=1e-10, atol=atol), name


# ---- who is reached


def test_each_move_leaves_the_other_players_to_the_bit(exact):
    settings, game = exact
    seen = []

    class Watched(Players):
        def descend(self, loss, *names, retain=False):
            before = {name: value.detach().clone() for name, value in game.named_parameters()}
            super().descend(loss, *names, retain=retain)
            now = dict(game.named_parameters())
            moved = {name for name in before if not torch.equal(now[name], before[name])}
            seen.append((names, moved, set(before) - moved))

    game.play({IMAGES: batch()}, Watched(game.players(settings)))
    (first, moved, _), (second, moved_later, left) = seen
    assert first == ("discriminators",) and {name.split(".")[0] for name in moved} == {"discriminators"}
    assert set(second) == {"reid", "generators"} and {name.split(".")[0] for name in left} == {"discriminators"}
    assert moved_later.isdisjoint(moved)


def test_features_teach_encoders_and_nothing_of_the_decoder(exact):
    _, game = exact
    people = people_of(batch())
    made = imitated(game.decoder, codes_of(game.network, people.images))
    loss = sum(game.reid_losses(people, made).values())
    names, parameters = zip(*game.named_parameters(), strict=True)
    reached = torch.autograd.grad(loss, parameters, allow_unused=True)
    gradients = dict(zip(names, reached, strict=True))
    assert all(found is None for name, found in gradients.items() if name.startswith(("decoder", "discriminators")))
    others = {name: found for name, found in gradients.items() if not name.startswith(("decoder", "discriminators"))}
    assert all(found is not None and torch.isfinite(found).all() for found in others.values())
    for modality in (VISIBLE, INFRARED):
        for part in ("attributes", "prototypes"):
            weights = [found for name, found in others.items() if f"network.{part}.{modality}" in name]
            assert all(found.any() for found in weights if found.ndim == 4)


def test_images_teach_nothing_of_the_features_own_layers(exact):
    settings, game = exact
    people = people_of(batch())
    codes = codes_of(game.network, people.images)
    parts = hicmd_losses.image_losses(
        game.network, game.decoder, game.discriminators, people.images, codes, imitated(game.decoder, codes)
    )
    parameters = Players(game.players(settings)).by_name["reid"].parameters
    assert all(found is None for found in torch.autograd.grad(sum(parts.values()), parameters, allow_unused=True))


def test_the_penalty_is_that_of_finite_differences():
    torch.manual_seed(0)
    discriminators = of_each(residual_discriminator_of_scales(1, 2, 1)).double()
    for parameter in discriminators.parameters():
        nn.init.normal_(parameter, std=0.4)
    images = {modality: torch.randn(2, 3, 8, 8, dtype=torch.float64) for modality in hicmd_losses.CAPTURED}
    made = {modality: Imitations(*[image] * 3, None) for modality, image in images.items()}
    values = [discriminator_losses(discriminators, images, made, penalty)[1].item() for penalty in (0.0, 1.0)]
    by, total = 1e-6, 0.0
    for modality, rows in images.items():
        for image in rows:
            steps = by * torch.eye(image.numel(), dtype=torch.float64).view(-1, *image.shape)
            above, below = (
                discriminators[modality.key](image + sign * steps)[0].sum(dim=(1, 2, 3)) for sign in (1, -1)
            )
            total += ((above - below) / (2 * by)).square().sum().item() / len(rows)
    assert values[1] - values[0] == pytest.approx(2 * total, rel=1e-4)


# ---- what is reported


def test_discriminators_report_their_chance_where_they_can_tell_nothing(exact):
    settings, game = exact
    for discriminator in game.discriminators.values():
        for network in discriminator.networks:
            nn.init.zeros_(network[-1][0].weight)
            nn.init.constant_(network[-1][0].bias, 0.5)
    parts = game.play({IMAGES: batch()}, Players(game.players(settings)))
    assert {name: parts[name].item() for name in game.chance} == pytest.approx(game.chance)
    assert parts["alpha"].item() == pytest.approx(0.5, abs=1e-3)
    assert all(value.shape == () and not value.requires_grad for value in parts.values())


def test_of_three_identities_one_is_seen_in_both_modalities_and_each_other_in_one():
    data = batch(torch.float32, images=2)
    people = people_of(data, images_per_modality=2)
    assert people.labels.tolist() == [7, 7, 0, 0]
    assert people.other_labels[0].tolist() == [2, 2, 8, 8] and people.other_labels[1].tolist() == [5, 5, 3, 3]
    assert torch.equal(people.images[0], data.images[[0, 1, 6, 7]])
    assert torch.equal(people.images[1], data.images[[12, 13, 18, 19]])
    assert torch.equal(people.others[0], data.images[[2, 3, 8, 9]])
    assert torch.equal(people.others[1], data.images[[16, 17, 22, 23]])


def test_triplets_of_two_ranks_look_at_the_rows_of_both(monkeypatch):
    torch.manual_seed(0)
    rows, labels = torch.randn(2, 20, 6, dtype=torch.float64), torch.empty(2, 20, dtype=torch.int64)
    for rank in range(2):
        for half in range(2):
            of_half = labels[rank, 10 * half : 10 * half + 10]
            of_half[:8], of_half[8:] = torch.tensor([4 * rank, 4 * rank + 1]).repeat(4), 4 * rank + 2 + half
    monkeypatch.setattr(hicmd_losses, "gather_even", lambda own: (rows if own.ndim == 2 else labels).flatten(0, 1))
    expected = 0
    for first in (0, 10):
        anchors = [20 * rank + first + place for rank in range(2) for place in range(8)]
        expected += triplet_loop(rows.flatten(0, 1), labels.flatten(), anchors, 0.4)
    for rank in range(2):
        torch.testing.assert_close(both_triplets(rows[rank], labels[rank], 2, 0.4), expected)


def test_the_loader_gives_whole_images_and_copies_are_erased():
    settings, game = build("augment.pad=3")
    (stream,) = game.streams(settings).values()
    augment = stream.settings.augment
    assert (augment.random_erasing_prob, augment.pad, augment.hflip_prob) == (0, 0, 0.5)
    assert stream.settings.batch == settings.batch
    assert (game.erase.probability, game.erase.area, game.erase.aspect) == (0.5, (0.02, 0.4), 0.3)


# ---- tested and shown


def test_the_tested_network_is_that_of_its_formula(exact):
    _, game = exact
    game.eval()
    data, plain = batch(), Plain(game)
    found = game.tested(data.images, data.modality)
    for rows, modality in ((slice(0, 6), VISIBLE), (slice(6, 12), INFRARED)):
        prototype, style, _, _ = plain.code(data.images[rows], modality)
        expected = plain.feature(game.network.body(prototype).mean(dim=(2, 3)), style)
        torch.testing.assert_close(found.pooled[rows], expected)
        linear, norm = game.network.embedding
        centered = (expected @ linear.weight.T + linear.bias - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
        torch.testing.assert_close(found.embedding[rows], centered * norm.weight + norm.bias)
    assert found.logits is None and game.tested.origin == "random"


@pytest.mark.parametrize(("alpha", "shares"), [(0.25, (0.25, 0.75)), (-0.5, (-0.5, 1.5)), (1.5, (1, 0))])
def test_the_shares_of_prototype_and_style(alpha, shares):
    _, game = build()
    nn.init.constant_(game.network.alpha, alpha)
    shape, style = torch.rand(2, 4) + 1, torch.rand(2, 2, 3) + 1
    found = game.network.pooled(shape, style)
    for part, share in zip(found.split([4, 6], dim=1), shares, strict=True):
        torch.testing.assert_close(part.norm(dim=1), torch.full((2,), abs(float(share))))
    assert (found[:, 0] < 0).all() == (shares[0] < 0)


def test_encoders_start_equal_and_the_tested_weights_are_all_that_is_tested():
    settings, game = build()
    for one, other in (
        (game.network.prototypes, VISIBLE),
        (game.network.attributes, VISIBLE),
        (game.discriminators, VISIBLE),
    ):
        pairs = zip(one[other].parameters(), one[OTHER[other]].parameters(), strict=True)
        assert all(torch.equal(first, second) and first is not second for first, second in pairs)
    tested = method_of(settings).build_tested(settings, IDENTITIES, weights=False).eval()
    tested.load_state_dict(game.tested.state_dict())
    data = batch(torch.float32)
    game.eval()
    torch.testing.assert_close(tested(data.images, data.modality).embedding, game.embed(data.images, data.modality))


def test_images_are_shown_and_translated_without_a_trace():
    _, game = build()
    game.eval()
    data, before, random = batch(torch.float32), state_of(game), torch.get_rng_state()
    visible, infrared = data.images[:4], data.images[6:10]
    with torch.no_grad():
        shown = game.shown(visible, infrared)
        lit = game.translate(visible, Modality.VISIBLE, infrared[2:3])
        back = game.translate(infrared[1:2], Modality.INFRARED, visible[1:2])
    assert changed(game, before) == set() and torch.equal(random, torch.get_rng_state())
    assert [*shown] == [
        f"{modality}{part}" for modality in (VISIBLE, INFRARED) for part in ("", " same", " cross", " relit")
    ]
    assert all(rows.shape == visible.shape for rows in shown.values()) and max(map(len, shown)) <= 16
    assert torch.equal(shown["visible"], visible)
    torch.testing.assert_close(lit[2], shown["infrared relit"][2])
    torch.testing.assert_close(back[0], shown["visible relit"][1])
    assert lit.shape == visible.shape
    with pytest.raises(
        ValueError, match="^style: expected an image that is infrared, whose illumination is taken; found none$"
    ):
        game.translate(visible, Modality.VISIBLE)


def test_norms_of_pre_training_are_those_of_encoders_and_of_the_prototypes_layers():
    _, game = build()
    norms = {id(layer) for layer in game.pretrained_norms()}
    found = {name for name, layer in game.named_modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d)}
    kept = {name for name, layer in game.named_modules() if id(layer) in norms}
    assert found - kept == {"network.embedding.1"} and kept - found == set()


# ---- refused


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.blocks=3", "model.backbone: expected a width that is a multiple of 12, for 3 blocks; found 32"),
        ("method.dilations=[1,8]", "method.dilations: expected less than 8, .* of 32 x 32; found 8"),
        ("method.scales=4", "method.scales: expected fewer sizes of images of 32 x 32; found 4"),
        ("augment.height=34", "augment.height, augment.width: expected multiples of 4; found 34 x 32"),
        ("model.pooling=gem", "model.pooling: expected average for the method hicmd; found gem"),
        ("model.stems=source", "model.stems: expected shared for the method hicmd, .*; found source"),
        (
            "method.image_batch.ids_per_batch=6",
            "method.image_batch: leave it out for the method hicmd",
        ),
        ("augment.visible=[gray]", r"augment.visible: expected \[\] for the method hicmd, .*; found \['gray'\]"),
        ("method.stages=[1,2]", "method.stages: expected the lengths of all, one above 0; found .*"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(override, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        build(override)
    assert "\n" not in str(error.value)


def test_shares_that_are_no_threes_are_refused():
    with pytest.raises(
        ValueError, match="^batch.ids_per_batch: expected a multiple of 3 for each process; found 4, 2$"
    ):
        build(identities=(4, 2))


def test_a_backbone_without_the_layers_of_a_resnet_is_refused():
    found = "model.backbone: expected a ResNet, of whose layers prototypes and attributes are made; found MobileNetV3"
    others = [argument for argument in SMALL if "kwargs" not in argument]
    with pytest.raises(ValueError, match=f"^{found}$"):
        build("model.backbone=mobilenetv3_small_050", arguments=others)
