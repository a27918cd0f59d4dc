"""A small method of several players: its generator learns the colors of infrared images."""

from dataclasses import dataclass

from torch import nn

from pipeline.methods.game import IMAGES, REID, Game, Stage, image_player, new_player, pair_of
from pipeline.methods.network import build_network
from pipeline.settings_key import key

TOY = "tests.methods.toy_game:ToyGame"


class ToyGame(Game):
    """`network` learns identities; `generator` and `discriminator` play against each other."""

    @dataclass(frozen=True)
    class Options(Game.Options):
        stages: list[float] = key([1.0, 1.0, 2.0], "of features, images and both", min=0)

    chance = {"discriminator": 0.5}

    def __init__(self, settings, identities, weights):
        super().__init__(settings, identities, weights)
        self.network = build_network(settings, identities, weights)
        self.generator = nn.Sequential(nn.Conv2d(3, 3, 1), nn.InstanceNorm2d(3, affine=True, track_running_stats=True))
        self.discriminator = nn.Sequential(nn.Conv2d(3, 4, 4, 2), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))

    @classmethod
    def build_tested(cls, settings, identities, weights=True):
        return build_network(settings, identities, weights)

    @property
    def tested(self):
        return self.network

    def players(self, settings):
        heads = {*self.network.head_parameters()}
        groups = [
            {"name": "heads", "params": [*heads], "lr": settings.optimizer.lr},
            {
                "name": "backbone",
                "params": [one for one in self.network.parameters() if one.requires_grad and one not in heads],
                "lr": settings.optimizer.lr * settings.optimizer.backbone_lr_mult,
            },
        ]
        return [
            new_player("network", groups, settings),
            image_player("generator", [self.generator], settings),
            image_player("discriminator", [self.discriminator], settings),
        ]

    def stages(self):
        return [
            Stage("features", (REID,), self.learn_features),
            Stage("images", (IMAGES,), self.learn_images),
            Stage("both", (REID, IMAGES), lambda batches, players: self.learn_both(batches, players)),
        ]

    def learn_features(self, batches, players):
        batch = batches[REID]
        output = self.network(batch.images, batch.modality)
        loss = nn.functional.cross_entropy(output.logits, batch.label)
        players.descend(loss, "network")
        return {"identity": loss.detach()}

    def learn_images(self, batches, players):
        pair = pair_of(batches[IMAGES])
        fake = self.generator(pair.visible)
        fooled = (self.discriminator(fake) - 1).square().mean()
        players.descend(fooled, "generator")
        told = (self.discriminator(fake.detach()).square() + (self.discriminator(pair.infrared) - 1).square()).mean()
        players.descend(told, "discriminator")
        return {"generator": fooled.detach(), "discriminator": told.detach()}

    def learn_both(self, batches, players):
        return self.learn_features(batches, players) | self.learn_images(batches, players)

    def shown(self, visible, infrared):
        return {"visible": visible, "to infrared": self.generator(visible), "infrared": infrared}

    def translate(self, images, modality, style=None):
        return self.generator(images)
