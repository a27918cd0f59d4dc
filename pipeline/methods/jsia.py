"""JSIA: a person's images exchange styles, and the predictions for a real and a generated image are drawn together.

Wang et al., "Cross-Modality Paired-Images Generation for RGB-Infrared Person Re-Identification", AAAI 2020, as in its
authors' code, wangguanan/JSIA-ReID, but for its infrared reconstruction, which the visible decoder generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.gathering import gather_even
from pipeline.losses.cross import cross_modality_loss
from pipeline.losses.divergence import symmetric_divergence
from pipeline.losses.identity import identity_loss
from pipeline.losses.term import Parts
from pipeline.methods import game
from pipeline.methods.game import IMAGES, REID, Batches, Game, ImageBatch, ImageOptimizer, Stage
from pipeline.methods.jsia_exchange import (
    INFRARED,
    OTHER,
    VISIBLE,
    ByModality,
    DiscriminatorSizes,
    Exchange,
    Generated,
    by_modality,
    check_sizes,
    total,
)
from pipeline.methods.network import build_reported_backbone, keys_named
from pipeline.methods.players import Player, Players
from pipeline.models.image.jsia import CONTENT, INSTANCE, GeneratorSizes, GrayNetwork
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.norm import norm_layers
from pipeline.models.pooling import pooling_for
from pipeline.normalization import normalization_of
from pipeline.settings import Settings
from pipeline.settings_key import key


class JSIA(Game):
    """`network` is tested, `exchange` generates. In the warm-up `exchange` learns alone, then both do."""

    @dataclass(frozen=True)
    class Options(Game.Options):
        stages: list[float] = key([600.0, 50.0], "lengths of the warm-up and of what follows, as parts", min=0)
        image_batch: ImageBatch = key(ImageBatch(3, 3, 128, 64), "batches of generators and discriminators")
        image_optimizer: ImageOptimizer = key(
            ImageOptimizer(lr=1e-4, weight_decay=1e-4), "of generators and discriminators"
        )
        generator: GeneratorSizes = key(GeneratorSizes, "style encoders and decoders")
        discriminator: DiscriminatorSizes = key(DiscriminatorSizes, "discriminators")
        adversarial: float = key(1.0, "weight of how real generated images look", min=0)
        reconstruction: float = key(10.0, "weight of images generated of their own content and style", min=0)
        cycle: float = key(10.0, "weight of images generated of the content of a generated one", min=0)
        feature: float = key(1.0, "weight of content and style that are seen again in a generated image", min=0)
        pair: float = key(0.01, "weight of the predictions for a real and a generated image", min=0)
        margin: float = key(0.3, "of the triplet loss between the modalities", min=0)
        label_smoothing: float = key(0.1, "share of the target spread over all identities, 0-1", min=0, max=1)

    chance = {"discriminators": 0.5}

    def __init__(self, settings: Settings, identities: int, weights: bool) -> None:
        super().__init__(settings, identities, weights)
        self.options: JSIA.Options = settings.method
        self.network = self.build_tested(settings, identities, weights)
        check_sizes(settings, self.network)
        normalization, options = normalization_of(settings), self.options
        pixels = PixelRange(normalization.mean, normalization.std)
        self.exchange = Exchange(self.network.channels, options.generator, options.discriminator, pixels)

    # ---- made of a configuration

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> GrayNetwork:
        model, augment = settings.model, settings.augment
        with keys_named():
            backbone = build_reported_backbone(settings, weights)
            pooling = pooling_for(backbone, model.pooling, model.pool_power, model.pool_power_trained)
            return GrayNetwork(backbone, pooling, identities, augment.height, augment.width)

    # ---- trained

    def players(self, settings: Settings) -> list[Player]:
        network, options = self.network, settings.optimizer
        of_heads, of_backbone = options.lr * options.heads_lr_mult, options.lr * options.backbone_lr_mult
        instance = [
            {"name": "heads", "params": network.head_parameters(), "lr": of_heads},
            {"name": "heads_pooling", "params": [*network.pooling.parameters()], "lr": of_heads, "weight_decay": 0.0},
            {"name": "backbone", "params": network.parameters_of(INSTANCE), "lr": of_backbone},
        ]
        content = [{"name": "content", "params": network.parameters_of(CONTENT), "lr": of_backbone}]
        return [
            game.new_player("instance", instance, settings),
            game.new_player("content", content, settings),
            game.image_player("generators", [*self.exchange.generators.values()], settings),
            game.image_player("discriminators", [self.exchange.discriminators], settings),
        ]

    def stages(self) -> Sequence[Stage]:
        """Returns the warm-up and what follows: without images, where all their weights are 0 (the paper's baseline).

        Raises ValueError for a warm-up in which nothing is learned.
        """
        warm_up, options = Stage("warm_up", (IMAGES,), self.warm_up), self.options
        if any((options.adversarial, options.reconstruction, options.cycle, options.feature, options.pair)):
            return warm_up, Stage("joint", (IMAGES, REID), self.learn_all)
        if self.lengths[0]:
            raise ValueError(
                f"method.stages: expected 0 for warm_up, as all weights of images are 0; found {self.lengths}"
            )
        return warm_up, Stage("joint", (REID,), self.learn_identities)

    def warm_up(self, batches: Batches, players: Players) -> Parts:
        """Moves generators and discriminators; the content encoder stands still, but for its statistics."""
        generated = self.exchange.generate(by_modality(batches[IMAGES]), self.network.content)
        images, features, parts = self.image_losses(generated)
        players.collect(images + features, "generators")
        parts |= self.collect_for_discriminators(generated, players)
        players.step("generators", "discriminators")
        return parts

    def learn_all(self, batches: Batches, players: Players) -> Parts:
        """Moves all players, each by gradients at the weights before any of them moved."""
        images = by_modality(batches[IMAGES])
        generated = self.exchange.generate(images, self.network.content)
        of_images, of_features, parts = self.image_losses(generated)
        players.collect(of_features, "generators", retain=True)  # content must not change to be seen again
        players.collect(of_images, "generators", "content")
        parts |= self.collect_for_discriminators(generated, players)
        if self.options.pair:
            pair = self.pair_loss(images, generated)
            players.collect(self.options.pair * pair, "content", "instance")
            parts |= {"pair": pair.detach()}
        parts |= self.learn_identities(batches, players)
        players.step("generators", "discriminators")
        return parts

    def learn_identities(self, batches: Batches, players: Players) -> Parts:
        """Moves content and instance, also by what they have collected before."""
        pair, options = game.pair_of(batches[REID]), self.options
        (visible, *_), (infrared, *_) = outputs = [self.network.learned(images) for images in pair[:2]]
        identity = total(identity_loss(logits, pair.labels, options.label_smoothing) for _, logits in outputs) / 2
        labels = gather_even(pair.labels)
        rows = gather_even(visible), labels, gather_even(infrared), labels
        triplet = cross_modality_loss(*rows, options.margin, "mean") / 2
        players.collect(identity + triplet, "content", "instance")
        players.step("content", "instance")
        return {"identity": identity.detach(), "triplet": triplet.detach()}

    def image_losses(self, generated: Generated) -> tuple[torch.Tensor, torch.Tensor, Parts]:
        """Returns the weighted losses of images and of features, and scalars to report."""
        parts, options = self.exchange.losses(generated), self.options
        images = options.adversarial * parts["adversarial"]
        images = images + options.reconstruction * parts["reconstruction"] + options.cycle * parts["cycle"]
        return images, options.feature * parts["feature"], {name: value.detach() for name, value in parts.items()}

    def collect_for_discriminators(self, generated: Generated, players: Players) -> Parts:
        """Collects for the discriminators; reports the mean over them and over the sizes of images that they see."""
        loss = self.exchange.discriminator_loss(generated)
        players.collect(loss, "discriminators")
        return {"discriminators": loss.detach() / self.exchange.outputs}

    def pair_loss(self, images: ByModality, generated: Generated) -> torch.Tensor:
        """Returns how the predictions for generated images differ from those for the real ones of the same content."""
        differences = []
        for name, real in images.items():
            with torch.no_grad():
                _, target = self.network.learned(real)
            _, predicted = self.network.learned(self.exchange.pixels.normalized(generated.fake[OTHER[name]].detach()))
            differences.append(symmetric_divergence(predicted, target))
        return total(differences)

    def pretrained_norms(self) -> list[nn.Module]:
        return [*norm_layers(self.network.backbone)]

    # ---- tested and shown

    @property
    def tested(self) -> nn.Module:
        return self.network

    def shown(self, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.exchange.shown({VISIBLE: visible, INFRARED: infrared}, self.network.content)

    def translate(self, images: torch.Tensor, modality: Modality, style: torch.Tensor | None = None) -> torch.Tensor:
        if style is None:
            raise ValueError(f"style: expected an image that is {OTHER[modality.key]}, for its style; found none")
        pixels, generator = self.exchange.pixels, self.exchange.generators[OTHER[modality.key]]
        code = generator.style(pixels.signed(style)).expand(len(images), -1)
        return pixels.normalized(generator(self.network.content(images), code))
