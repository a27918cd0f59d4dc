"""AlignGAN: its updates are those of a plain loop written from the formulas."""

import copy

import pytest
import torch
from torch.nn import functional

from pipeline.batch import Modality
from pipeline.methods.game import IMAGES, REID
from pipeline.models.image.translated import TwoBranchHead
from tests.methods.games import SIZES, changed, new_game, play, random_batch, small_settings, weights_of

TINY = [*SIZES["aligngan"], "method.dropout=0", "method.reid_height=96", "method.reid_width=48"]
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


@pytest.fixture(scope="module")
def settings():
    return small_settings("aligngan", *TINY, "method.image_batch.images_per_modality=2")


@pytest.fixture()
def game(settings):
    return new_game(settings)


@pytest.fixture(scope="module")
def batches():
    return {REID: random_batch(1, identities=4), IMAGES: random_batch(2)}


class Plain:
    """The update rule in the words of the specification: gradients by torch.autograd.grad, optimizers by hand."""

    def __init__(self, game):
        network = game.network
        self.g_vi, self.g_iv, self.backbone, self.head = (
            network.translator,
            game.to_visible,
            network.backbone,
            network.head,
        )
        self.d_v, self.d_j = game.visible_discriminator, game.joint_discriminator
        self.d_wv, self.d_wi = game.first_visible_discriminator, game.first_infrared_discriminator

    def pair(self, batch):
        signed = 2 * (batch.images.double() * STD.double().float() + MEAN.double().float()) - 1
        count = len(signed) // 2
        return signed[:count], signed[count:], batch.label[:count]

    def f(self, signed):
        larger = functional.interpolate(signed, (96, 48), mode="bilinear", align_corners=False)
        return self.backbone.forward_features(((larger + 1) / 2 - MEAN) / STD)

    def h(self, features):
        pooled = features.mean(dim=(2, 3))
        return self.head.classifier(pooled), self.head.embedding(pooled)

    def t(self, a, b, labels):
        values = []
        for i, anchor in enumerate(a):
            cosines = [torch.dot(anchor, other) / anchor.norm() / other.norm() for other in b]
            negatives = [cosine for j, cosine in enumerate(cosines) if labels[j] != labels[i]]
            positives = [cosine for j, cosine in enumerate(cosines) if labels[j] == labels[i]]
            values.append(torch.relu(1 + max(negatives) - min(positives)))
        return sum(values) / len(values)

    def sgd(self, loss):
        for module, lr in ((self.backbone, 0.02), (self.head, 0.2)):
            parameters = [*module.parameters()]
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                gradient = gradient + 5e-4 * parameter.detach()
                parameter.data -= lr * (gradient + 0.9 * gradient)  # Nesterov's first step

    def adam(self, loss, *modules):
        parameters = [parameter for module in modules for parameter in module.parameters()]
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.data -= 2e-4 * gradient / (gradient.abs() + 1e-8)  # Adam's first step

    def features(self, batches):
        _, i, y = self.pair(batches[REID])
        logits, e = self.h(self.f(i))
        self.sgd(functional.cross_entropy(logits, y) + self.t(e, e, y))

    def pixels(self, batches):
        v, i, y = self.pair(batches[IMAGES])
        made_i, made_v, _, _ = self.generators(v, i, y, self.d_wv, lambda x, _: (self.d_wi(x) - 1).square().mean())
        self.adam(((self.d_wv(v) - 1).square().mean() + self.d_wv(made_v).square().mean()) / 2, self.d_wv)
        self.adam(((self.d_wi(i) - 1).square().mean() + self.d_wi(made_i).square().mean()) / 2, self.d_wi)

    def generators(self, v, i, y, d_v, adversary):
        made_i, made_v = self.g_vi(v), self.g_iv(i)
        real, made = self.f(i).detach(), self.f(made_i)
        logits, e_made = self.h(made)
        e_real = self.head.embedding(real.mean(dim=(2, 3)))
        loss = ((d_v(made_v) - 1).square().mean() + adversary(made_i, real)) / 2
        loss = loss + 5 * ((self.g_iv(made_i) - v).abs().mean() + (self.g_vi(made_v) - i).abs().mean())
        loss = loss + 2.5 * ((self.g_iv(v) - v).abs().mean() + (self.g_vi(i) - i).abs().mean())
        loss = loss + 0.1 * (self.t(e_made, e_real, y) + self.t(e_real, e_made, y))
        self.adam(loss + 0.1 * functional.cross_entropy(logits, y), self.g_vi, self.g_iv)
        return made_i.detach(), made_v.detach(), real, made.detach()

    def joint(self, batches):
        v, i, y = self.pair(batches[REID])
        made = self.f(self.g_vi(v).detach())
        real = self.f(i)
        (made_logits, e_made), (real_logits, e_real) = self.h(made), self.h(real)
        loss = functional.cross_entropy(made_logits, y) + functional.cross_entropy(real_logits, y)
        loss = loss + self.t(e_made, e_real, y) + self.t(e_real, e_made, y)
        self.sgd(loss + 0.1 * (self.d_j(i, made) - 1).square().mean())
        v, i, y = self.pair(batches[IMAGES])
        made_i, made_v, real, made = self.generators(
            v, i, y, self.d_v, lambda x, f: (self.d_j(x, f) - 1).square().mean()
        )
        self.adam(((self.d_v(v) - 1).square().mean() + self.d_v(made_v).square().mean()) / 2, self.d_v)
        others = torch.cat([i[-2:], i[:-2]])
        pairs = ((others, real), (i, made), (made_i, real), (made_i, made))
        wrong = sum(self.d_j(*pair).square().mean() for pair in pairs) / 4
        self.adam(((self.d_j(i, real) - 1).square().mean() + wrong) / 2, self.d_j)


@pytest.mark.parametrize("stage", ["features", "pixels", "joint"])
def test_an_update_is_that_of_a_plain_loop_in_float64(stage, game, settings, batches):
    twin = copy.deepcopy(game)
    play(game, stage, batches, settings)
    getattr(Plain(twin), stage)(batches)
    for (name, ours), theirs in zip(game.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


MOVED = {
    "features": {"network.backbone", "network.head"},
    "pixels": {"network.translator", "to_visible", "first_visible_discriminator", "first_infrared_discriminator"},
    "joint": {
        *("network.backbone", "network.head", "network.translator"),
        *("to_visible", "visible_discriminator", "joint_discriminator"),
    },
}


@pytest.mark.parametrize("stage", MOVED)
def test_a_stage_moves_its_players_and_leaves_the_others_to_the_bit(stage, game, settings, batches):
    before, of_network = weights_of(game), weights_of(game.network)
    play(game, stage, batches, settings)
    moved = changed(game, before) - {"network"} | {f"network.{name}" for name in changed(game.network, of_network)}
    assert moved == MOVED[stage]


def test_the_head_has_as_many_parameters_as_the_authors():
    assert sum(parameter.numel() for parameter in TwoBranchHead(2048, 395).parameters()) == 1_151_115


def test_a_visible_image_is_tested_by_its_translation_and_the_mirror_image_of_that(game, batches):
    game.eval()
    images = batches[IMAGES].images[:3].double()
    plain, network = Plain(game), game.network
    signed = 2 * (images * STD + MEAN) - 1
    with torch.no_grad():
        made = network.translator(signed)
        expected = plain.f(made).mean(dim=(2, 3)) + plain.f(made.flip(-1)).mean(dim=(2, 3))
        found = network(images, [0, 0, 0])
        torch.testing.assert_close(found.pooled, expected)
        assert found.logits is None and found.embedding.shape == (3, 256)
        infrared = network(images, [1, 1, 1]).pooled
        torch.testing.assert_close(
            infrared, plain.f(signed).mean(dim=(2, 3)) + plain.f(signed.flip(-1)).mean(dim=(2, 3))
        )
        mixed = network(images, [1, 0, 1]).pooled
        torch.testing.assert_close(mixed, torch.stack([infrared[0], expected[1], infrared[2]]))
        network.mirrored = False
        torch.testing.assert_close(network(images, [0, 0, 0]).pooled, plain.f(made).mean(dim=(2, 3)))


def test_showing_and_translating_change_nothing(game, batches):
    game.eval()
    before, random = weights_of(game), torch.get_rng_state()
    visible, infrared = batches[IMAGES].images.double().chunk(2)
    with torch.no_grad():
        rows = game.shown(visible, infrared)
        to_infrared = game.translate(visible, Modality.VISIBLE)
        to_visible = game.translate(infrared, Modality.INFRARED)
    assert [*rows] == ["visible", "to infrared", "to visible again", "infrared", "to visible", "to infrared again"]
    assert all(images.shape == visible.shape for images in rows.values())
    torch.testing.assert_close(rows["visible"], visible)
    torch.testing.assert_close(rows["to infrared"], to_infrared)
    torch.testing.assert_close(rows["to visible"], to_visible)
    levels = to_infrared * STD + MEAN
    assert levels.min() >= 0 and levels.max() <= 1
    assert changed(game, before) == set() and torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in game.state_dict().items())


def test_a_backbone_of_tokens_is_refused(settings):
    with pytest.raises(ValueError, match=r"model\.backbone: expected one whose maps are"):
        new_game(
            small_settings("aligngan", *TINY, "model.backbone=swin_tiny_patch4_window7_224", "model.last_stride=2")
        )
