"""AlignGAN: visible images are translated to infrared ones, in which people are recognized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from pipeline.batch import Batch, Modality
from pipeline.gathering import gather_even
from pipeline.losses.cosine_triplet import cosine_triplet
from pipeline.losses.image_losses import least_squares
from pipeline.losses.term import Parts
from pipeline.methods.aligngan_losses import Made, classified, cycle_losses, discriminator_loss, joint_loss
from pipeline.methods.aligngan_network import build_translated, check_sizes
from pipeline.methods.game import IMAGES, REID, Batches, Game, Stage, detached, image_player, pair_of, reid_player
from pipeline.methods.players import Player, Players
from pipeline.models.image.discriminators import JointDiscriminator, PatchDiscriminator
from pipeline.models.image.pixel_range import PixelRange
from pipeline.models.image.translated import TranslatedNetwork
from pipeline.models.image.translator import Translator
from pipeline.models.norm import norm_layers
from pipeline.precision import wide
from pipeline.settings import Settings
from pipeline.settings_key import key

# players; a discriminator's loss is reported by the name of its player
FEATURES, TRANSLATORS = "features", "translators"
OF_VISIBLE, OF_INFRARED = "visible_discriminator", "infrared_discriminator"


class AlignGAN(Game):
    """Wang et al., "RGB-Infrared Cross-Modality Person Re-Identification via Joint Pixel and Feature Alignment", ICCV
    2019; the updates of its code, wangguanan/AlignGAN.

    A CycleGAN translates between the modalities. Its infrared discriminator is a joint one in the last stage: it judges
    images with their feature maps, so that translator and network are trained to make both look real.

    In the code the joint stage begins with new discriminators; those of the warm-up are networks of their own here.
    """

    @dataclass(frozen=True)
    class Options(Game.Options):
        stages: list[float] = key([50, 100, 101], "of features, pixels, joint", min=0)
        width: int = key(64, "channels of the first layer of translators and discriminators", min=1)
        blocks: int = key(4, "residual blocks of a translator", min=0)
        depth: int = key(5, "layers of stride 2 of a discriminator; in the joint one three see the image alone", min=4)
        reid_height: int | None = key(
            None, "pixels that images are resized to for recognition; null: as loaded", min=16
        )
        reid_width: int | None = key(None, "likewise", min=16)
        dropout: float = key(0.5, "in front of the classifier", min=0, max=1)
        mirrored: bool = key(True, "add a test image's feature to its mirror image's, mirrored behind the translator")
        margin: float = key(1.0, "of the cosine triplet loss", min=0)
        cycle_weight: float = key(10.0, "of images translated and back", min=0)
        same_weight: float = key(5.0, "of images of the modality that is translated to", min=0)
        recognition_weight: float = key(0.1, "of the translators' triplet and identity losses", min=0)
        alignment_weight: float = key(0.1, "of the features' loss against the joint discriminator", min=0)

    chance = {"visible_discriminator": 0.25, "infrared_discriminator": 0.25, "joint_discriminator": 0.25}

    def __init__(self, settings: Settings, identities: int, weights: bool) -> None:
        super().__init__(settings, identities, weights)
        self.options: AlignGAN.Options = settings.method
        sizes = {"width": self.options.width, "depth": self.options.depth}
        self.network = self.build_tested(settings, identities, weights)
        self.to_visible = Translator(self.options.width, self.options.blocks)
        self.visible_discriminator = PatchDiscriminator(**sizes)
        self.first_visible_discriminator, self.first_infrared_discriminator = (
            PatchDiscriminator(**sizes),
            PatchDiscriminator(**sizes),
        )
        channels = self.network.backbone.num_features
        self.joint_discriminator = JointDiscriminator(self.options.width, channels, 3, self.options.depth - 3)
        self.images_per_modality = settings.method.image_batch.images_per_modality

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> TranslatedNetwork:
        return build_translated(settings, identities, weights)

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        check_sizes(settings)
        return super().resolved(settings, resumed)

    @property
    def tested(self) -> nn.Module:
        return self.network

    @property
    def to_infrared(self) -> nn.Module:
        return self.network.translator

    def pretrained_norms(self) -> list[nn.Module]:
        return [*norm_layers(self.network.backbone)]

    def players(self, settings: Settings) -> list[Player]:
        return [
            reid_player(FEATURES, self.network.backbone, [self.network.pooling, self.network.head], settings),
            image_player(TRANSLATORS, [self.to_infrared, self.to_visible], settings),
            image_player(OF_VISIBLE, [self.visible_discriminator, self.first_visible_discriminator], settings),
            image_player(OF_INFRARED, [self.joint_discriminator, self.first_infrared_discriminator], settings),
        ]

    # ---- stages

    def stages(self) -> Sequence[Stage]:
        return [
            Stage("features", (REID,), self.learn_infrared),
            Stage("pixels", (IMAGES,), self.align_pixels),
            Stage("joint", (REID, IMAGES), self.align_both),
        ]

    def learn_infrared(self, batches: Batches, players: Players) -> Parts:
        """Learns to recognize people in real infrared images."""
        pair = pair_of(batches[REID])
        real = self.network.feature_of(self.network.map_of(self.pixels.signed(pair.infrared)))
        classification = classified(real, pair.labels)
        triplet = self.triplet(real.embedding, real.embedding, pair.labels)
        players.descend(classification + triplet, FEATURES)
        return detached(classification=classification, triplet=triplet)

    def align_pixels(self, batches: Batches, players: Players) -> Parts:
        """Learns to translate, against discriminators of images."""
        made = self.make(batches[IMAGES])
        fooled = least_squares(self.first_infrared_discriminator(made.to_infrared), 1)
        parts = self.move_translators(made, self.first_visible_discriminator, fooled, players)
        visible = discriminator_loss(self.first_visible_discriminator, made.visible, made.to_visible)
        infrared = discriminator_loss(self.first_infrared_discriminator, made.infrared, made.to_infrared)
        players.descend(visible, OF_VISIBLE)
        players.descend(infrared, OF_INFRARED)
        return parts | detached(visible_discriminator=visible, infrared_discriminator=infrared)

    def align_both(self, batches: Batches, players: Players) -> Parts:
        """Learns features of real and translated images, and to translate, against the joint discriminator."""
        parts = self.move_features(batches[REID], players)
        made = self.make(batches[IMAGES])
        fooled = least_squares(self.joint_discriminator(made.to_infrared, made.map), 1)
        parts |= self.move_translators(made, self.visible_discriminator, fooled, players)
        visible = discriminator_loss(self.visible_discriminator, made.visible, made.to_visible)
        joint = joint_loss(made, self.joint_discriminator, self.images_per_modality)
        players.descend(visible, OF_VISIBLE)
        players.descend(joint, OF_INFRARED)
        return parts | detached(visible_discriminator=visible, joint_discriminator=joint)

    # ---- moves

    def make(self, batch: Batch) -> Made:
        """Translates a batch in both directions."""
        visible, infrared, labels = pair_of(batch)
        visible, infrared = self.pixels.signed(visible), self.pixels.signed(infrared)
        to_infrared, to_visible = wide(self.to_infrared(visible)), wide(self.to_visible(infrared))
        with torch.no_grad():
            map_ = self.network.map_of(infrared)
        made_map = self.network.map_of(to_infrared)
        return Made(visible, infrared, labels, to_visible, to_infrared, map_, made_map)

    def move_translators(
        self, made: Made, visible_discriminator: nn.Module, fooled: torch.Tensor, players: Players
    ) -> Parts:
        """L_G. fooled: what the infrared discriminator says of the translated images, against 1."""
        options, of_real, of_made = self.options, self.network.pooling(made.map), self.network.pooling(made.made_map)
        recognized = self.network.head(of_made)
        adversarial = (least_squares(visible_discriminator(made.to_visible), 1) + fooled) / 2
        cycle, same = cycle_losses(made, self.to_visible, self.to_infrared)
        real = self.network.head.embedding(of_real)
        triplet = self.triplet_both_ways(recognized.embedding, real, made.labels)
        recognition = triplet + classified(recognized, made.labels)
        images = adversarial + options.cycle_weight * cycle + options.same_weight * same
        players.descend(images + options.recognition_weight * recognition, TRANSLATORS)
        return detached(adversarial=adversarial, cycle=cycle, same=same, recognition=recognition)

    def move_features(self, batch: Batch, players: Players) -> Parts:
        """L_F, with translated images that get no gradient."""
        visible, infrared, labels = pair_of(batch)
        infrared = self.pixels.signed(infrared)
        with torch.no_grad():
            to_infrared = wide(self.to_infrared(self.pixels.signed(visible)))
        made_map = self.network.map_of(to_infrared)
        made, real = self.network.feature_of(made_map), self.network.feature_of(self.network.map_of(infrared))
        classification = classified(made, labels) + classified(real, labels)
        triplet = self.triplet_both_ways(made.embedding, real.embedding, labels)
        alignment = least_squares(self.joint_discriminator(infrared, made_map), 1)
        players.descend(classification + triplet + self.options.alignment_weight * alignment, FEATURES)
        return detached(classification=classification, triplet=triplet, alignment=alignment)

    def triplet_both_ways(self, first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.triplet(first, second, labels) + self.triplet(second, first, labels)

    def triplet(self, anchors: torch.Tensor, others: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """T(anchors -> others), of the rows of all ranks; row by row they show the same person."""
        labels = gather_even(labels)
        return cosine_triplet(gather_even(anchors), labels, gather_even(others), labels, self.options.margin)

    # ---- shown

    @property
    def pixels(self) -> PixelRange:
        return self.network.pixels

    def shown(self, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
        visible, infrared = self.pixels.signed(visible), self.pixels.signed(infrared)
        to_infrared, to_visible = self.to_infrared(visible), self.to_visible(infrared)
        rows = {"visible": visible, "to infrared": to_infrared, "to visible again": self.to_visible(to_infrared)}
        rows |= {"infrared": infrared, "to visible": to_visible, "to infrared again": self.to_infrared(to_visible)}
        return {name: self.pixels.normalized(images) for name, images in rows.items()}

    def translate(self, images: torch.Tensor, modality: Modality, style: torch.Tensor | None = None) -> torch.Tensor:
        if style is not None:
            raise ValueError("style: AlignGAN translates without one; leave it out")
        translator = self.to_infrared if modality is Modality.VISIBLE else self.to_visible
        return self.pixels.normalized(translator(self.pixels.signed(images)))
