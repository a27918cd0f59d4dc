"""D2RL, reconstructed: two variational autoencoders translate both ways, and a network learns of the joined images.

Wang et al., "Learning to Reduce Dual-Level Discrepancy for Infrared-Visible Person Re-Identification", CVPR 2019. No
code was published and no number was to be read: networks and weights of the image level are those of UNIT's public
code, on which it builds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.batch import CAPTURED, Batch, Modality
from pipeline.gathering import gather_even
from pipeline.losses.identity import identity_loss
from pipeline.losses.intra import intra_modality_loss
from pipeline.losses.term import Parts
from pipeline.methods.d2rl_losses import (
    Cycles,
    Discriminators,
    Images,
    ImageWeights,
    discriminator_losses,
    translation_losses,
)
from pipeline.methods.d2rl_network import build_unified, check_sizes
from pipeline.methods.game import IMAGES, REID, Batches, Game, Stage, detached, image_player, new_player, pair_of
from pipeline.methods.players import Player, Players
from pipeline.models.image.discriminators import patch_discriminator_of_scales
from pipeline.models.image.unified import UnifiedNetwork, Unify
from pipeline.models.parameter_groups import network_groups, never_decayed, split_by_decay
from pipeline.settings import Settings
from pipeline.settings_key import key


class D2RL(Game):
    """`unified` is tested; `discriminators` see the images that its translation makes."""

    @dataclass(frozen=True)
    class Options(Game.Options):
        stages: list[float] = key([30.0, 55.0, 10.0], "of images, features (translation stands still) and both", min=0)
        unify: Unify = key("multispectral", "what features are of: four channels, RGB and infrared; or one modality")
        width: int = key(64, "channels of the first layers of encoders and discriminators", min=1)
        blocks: int = key(4, "residual blocks of encoders and decoders", min=1)
        noise: float = key(1.0, "deviation of what is added to codes in training", min=0)
        scales: int = key(3, "sizes in which the discriminators see an image", min=1)
        image_weights: ImageWeights = key(ImageWeights, "of the losses of the image level")
        joint_image_weight: float = key(0.1, "of these losses in the joint stage; 1 for those of features", min=0)
        joint_rate: float = key(0.1, "factor of all learning rates in the joint stage", min=0)
        margin: float = key(0.3, "of the batch-hard triplet loss", min=0)

    unheeded = ()
    # reported as means over the sizes, of the sum of a loss of real and one of made images
    chance = {"visible_discriminator": 0.5, "infrared_discriminator": 0.5}

    def __init__(self, settings: Settings, identities: int, weights: bool) -> None:
        super().__init__(settings, identities, weights)
        self.options: D2RL.Options = settings.method
        self.unified = build_unified(settings, identities, weights)
        scales, width = self.options.scales, self.options.width
        self.discriminators = nn.ModuleDict({m.key: patch_discriminator_of_scales(scales, width) for m in CAPTURED})

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> UnifiedNetwork:
        return build_unified(settings, identities, weights)

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        check_sizes(settings)
        return super().resolved(settings, resumed)

    @property
    def tested(self) -> UnifiedNetwork:
        return self.unified

    def pretrained_norms(self) -> list[nn.Module]:
        return self.unified.network.pretrained_norms()

    # ---- trained

    def players(self, settings: Settings) -> list[Player]:
        """Returns those of features, of translation and of the discriminators.

        Features follow the schedule of `optimizer`; images keep their rate, as the other player's milestones say
        nothing of them. All are multiplied by `joint_rate` in the joint stage.
        """
        network, joint = self.unified.network, self.joint_schedule(settings)
        groups = network_groups(network, settings.optimizer)
        if not settings.optimizer.decay_norm_bias:
            groups = split_by_decay(groups, never_decayed(network.named_parameters(), network))
        features = new_player("features", groups, settings)
        translation = image_player("translation", [self.unified.translation], settings)
        discriminators = image_player("discriminators", [self.discriminators], settings)
        return [
            replace(features, schedule=lambda epoch: features.schedule(epoch) * joint(epoch)),
            replace(translation, schedule=joint),
            replace(discriminators, schedule=joint),
        ]

    def joint_schedule(self, settings: Settings) -> Callable[[float], float]:
        """Returns the function from epoch to factor that is 1 before the joint stage and `joint_rate` in it.

        It is one of epochs alone: where the stage, which begins at the nearest step, begins before the epoch does, its
        first step has the rates of the stage before.
        """
        begin, factor = settings.train.epochs * sum(self.lengths[:-1]) / sum(self.lengths), self.options.joint_rate
        return lambda epoch: factor if epoch >= begin else 1.0

    def stages(self) -> list[Stage]:
        return [
            Stage("images", (IMAGES,), self.learn_images),
            Stage("features", (REID,), self.learn_features),
            Stage("joint", (REID, IMAGES), self.learn_jointly),
        ]

    def learn_images(self, batches: Batches, players: Players) -> Parts:
        images, cycles, losses = self.translated(batches[IMAGES])
        players.descend(self.options.image_weights.weigh(losses), "translation")
        return detached(**losses) | self.move_discriminators(images, cycles, players)

    def learn_features(self, batches: Batches, players: Players) -> Parts:
        batch = batches[REID]
        self.unified.translation.eval()  # it stands still, and translates as it will in a test: without noise
        with torch.no_grad():
            images = self.unified.unified(batch.images, batch.modality)
        self.unified.translation.train()
        losses = self.feature_losses(images, batch)
        players.descend(losses["identity"] + losses["triplet"], "features")
        return detached(**losses)

    def learn_jointly(self, batches: Batches, players: Players) -> Parts:
        batch, options = batches[REID], self.options
        of_features = self.feature_losses(self.unified.unified(batch.images, batch.modality), batch)
        players.collect(of_features["identity"] + of_features["triplet"], "features", "translation")
        images, cycles, of_images = self.translated(batches[IMAGES])
        players.collect(options.joint_image_weight * options.image_weights.weigh(of_images), "translation")
        players.step("features", "translation")
        return detached(**of_features, **of_images) | self.move_discriminators(images, cycles, players)

    def translated(self, batch: Batch) -> tuple[Images, Cycles, Parts]:
        """Returns the images of each modality, in -1 .. 1, what becomes of them, and the losses of that."""
        pair, signed = pair_of(batch), self.unified.pixels.signed
        images = {Modality.VISIBLE: signed(pair.visible), Modality.INFRARED: signed(pair.infrared)}
        cycles = {modality: self.unified.translation.cycle(images[modality], modality) for modality in images}
        return images, cycles, translation_losses(images, cycles, self.of_modality)

    def move_discriminators(self, images: Images, cycles: Cycles, players: Players) -> Parts:
        """Moves the discriminators; returns the loss of each as the mean over sizes, detached."""
        losses = discriminator_losses(images, cycles, self.of_modality)
        players.descend(torch.stack([*losses.values()]).sum(), "discriminators")
        return {name: loss / self.options.scales for name, loss in detached(**losses).items()}

    @property
    def of_modality(self) -> Discriminators:
        return {modality: self.discriminators[modality.key] for modality in CAPTURED}

    def feature_losses(self, images: torch.Tensor, batch: Batch) -> Parts:
        """Returns "identity", of this rank's rows, and "triplet", batch-hard among the rows of all ranks, whatever
        their modalities. images: unified."""
        output = self.unified.network(images, batch.modality)
        assert output.logits is not None
        pooled, labels = gather_even(output.pooled), gather_even(batch.label)
        triplet = intra_modality_loss(pooled, labels, self.options.margin, "mean")  # as if all were of one modality
        return {"identity": identity_loss(output.logits, batch.label), "triplet": triplet}

    # ---- shown

    def shown(self, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
        pixels, rows = self.unified.pixels, {}
        for modality, images in {Modality.VISIBLE: visible, Modality.INFRARED: infrared}.items():
            cycle = self.unified.translation.cycle(pixels.signed(images), modality)
            rows[modality.key] = images
            rows[f"to {modality.other.key}"] = pixels.normalized(cycle.translated)
            rows[f"{modality.key} again"] = pixels.normalized(cycle.cycled)
        return rows

    def translate(self, images: torch.Tensor, modality: Modality, style: torch.Tensor | None = None) -> torch.Tensor:
        if style is not None:
            raise ValueError("style: D2RL translates without one; leave it out")
        pixels = self.unified.pixels
        return pixels.normalized(self.unified.translation(pixels.signed(images), modality))
