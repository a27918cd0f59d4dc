"""Hi-CMD: images of a person are decoded from prototype and attributes of others; prototype and style identify people.

Choi, Lee, Kim, Kim, Kim, "Hi-CMD: Hierarchical Cross-Modality Disentanglement for Visible-Infrared Person
Re-Identification", CVPR 2020, as its authors' code does it. Which images are decoded: `pipeline.models.image.exchange`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from pipeline.batch import Modality
from pipeline.loading.streams import Stream
from pipeline.losses.identity import identity_loss
from pipeline.losses.term import Parts
from pipeline.methods.game import IMAGES, Batches, Game, Stage, detached, image_player, new_player, trained
from pipeline.methods.hicmd_losses import (
    DISCRIMINATOR_LOSSES,
    INFRARED,
    PARTS,
    VISIBLE,
    People,
    both_triplets,
    codes_of,
    discriminator_losses,
    erased_features,
    image_losses,
    imitated,
    people_of,
)
from pipeline.methods.hicmd_settings import Weights, check_settings
from pipeline.methods.method import Share
from pipeline.methods.network import build_reported_backbone, keys_named
from pipeline.methods.players import Player, Players
from pipeline.models.classifier import new_classifier
from pipeline.models.image.attributes import AttributeDecoder
from pipeline.models.image.discriminators import residual_discriminator_of_scales
from pipeline.models.image.disentangled import DisentangledNetwork, linear, of_each
from pipeline.models.image.erasing import RandomErasing
from pipeline.models.image.exchange import Imitations, relit
from pipeline.settings import Settings
from pipeline.settings_key import key

GENERATORS, DISCRIMINATORS = "generators", "discriminators"


class HiCMD(Game):
    """One stage. In each step the discriminators move first, then generators and re-identification together.

    Of each three identities of a batch one is seen in both modalities, one in visible images and one in infrared ones;
    each rank has whole threes, so that several are as one.
    """

    @dataclass(frozen=True)
    class Options(Game.Options):
        weights: Weights = key(Weights, "of the losses")
        margin: float = key(0.5, "of the triplet losses", min=0, max=2)
        penalty: float = key(0.01, "weight of the discriminators' gradient penalty", min=0)
        alpha_lr: float = key(1e-5, "learning rate of the share of prototypes in a feature", min=0)
        width: int = key(32, "channels of the first layers of prototype encoders and discriminators", min=1)
        blocks: int = key(4, "residual blocks of each network, and parts of the attributes", min=1)
        dilations: list[int] = key([3, 6, 9], "of the prototype encoders", min=1)
        scales: int = key(3, "sizes in which a discriminator sees an image", min=1)
        embedding: int = key(2048, "values of the embedding", min=1)
        triplet_width: int = key(1024, "values that the triplet losses compare", min=1)
        dropout: float = key(0.5, "of the embedding", min=0, max=0.99)

    chance = dict.fromkeys(DISCRIMINATOR_LOSSES.values(), 0.25)
    # its images are whole and in their true colors; copies of them are erased
    unheeded = (*Game.unheeded, "augment.visible", "augment.infrared", "augment.random_erasing_fill")

    def __init__(self, settings: Settings, identities: int, weights: bool) -> None:
        super().__init__(settings, identities, weights)
        options, augment = settings.method, settings.augment
        self.options = options
        self.images_per_modality = settings.batch.images_per_modality
        self.network = self.build_tested(settings, identities, weights)
        self.decoder = AttributeDecoder(self.network.channels, options.blocks, self.network.code_width)
        self.discriminators = of_each(residual_discriminator_of_scales(options.scales, options.width, options.blocks))
        self.compared = linear(options.embedding, options.triplet_width)
        self.classifier = new_classifier(options.embedding, identities, bias=True)
        self.erase = RandomErasing(
            augment.random_erasing_prob, augment.random_erasing_area, augment.random_erasing_aspect
        )

    # ---- made of a configuration

    @classmethod
    def build(cls, settings: Settings, identities: int, share: Share, weights: bool = True) -> Game:
        if any(own % PARTS for own in share.identities):
            raise ValueError(
                f"batch.ids_per_batch: expected a multiple of {PARTS} for each process; "
                f"found {', '.join(map(str, share.identities))}"
            )
        return super().build(settings, identities, share, weights)

    @classmethod
    def build_tested(cls, settings: Settings, identities: int, weights: bool = True) -> DisentangledNetwork:
        options = settings.method
        with keys_named():
            return DisentangledNetwork(
                build_reported_backbone(settings, weights),
                width=options.width,
                blocks=options.blocks,
                dilations=options.dilations,
                embedding=options.embedding,
                dropout=options.dropout,
            )

    @classmethod
    def resolved(cls, settings: Settings, resumed: bool = False) -> Settings:
        settings = super().resolved(settings, resumed)
        check_settings(settings)
        return settings

    @classmethod
    def streams(cls, settings: Settings) -> dict[str, Stream]:
        return {IMAGES: Stream(cls.shown_settings(settings))}

    @classmethod
    def shown_settings(cls, settings: Settings) -> Settings:
        """Returns the settings whose images are whole: erased are copies of them, here."""
        return replace(settings, augment=settings.augment.whole())

    # ---- trained

    def players(self, settings: Settings) -> list[Player]:
        network, optimizer = self.network, settings.optimizer
        rates = {
            "heads": (
                optimizer.lr * optimizer.heads_lr_mult,
                trained([network.embedding, self.compared, self.classifier]),
            ),
            "backbone": (optimizer.lr * optimizer.backbone_lr_mult, trained([network.body])),
            "alpha": (self.options.alpha_lr, [network.alpha]),
        }
        groups = [{"name": name, "lr": lr, "params": parameters} for name, (lr, parameters) in rates.items()]
        return [
            new_player("reid", groups, settings),
            image_player(GENERATORS, [network.prototypes, network.attributes, self.decoder], settings),
            image_player(DISCRIMINATORS, [self.discriminators], settings),
        ]

    def pretrained_norms(self) -> list[nn.Module]:
        return self.network.pretrained_norms()

    def stages(self) -> Sequence[Stage]:
        return [Stage("all", (IMAGES,), self.play)]

    def play(self, batches: Batches, players: Players) -> Parts:
        """Moves the discriminators, then all others by one backward pass. The first pass of the encoders, too, counts
        in the statistics of their norms."""
        people = people_of(batches[IMAGES], self.images_per_modality)
        with torch.no_grad():
            made = imitated(self.decoder, codes_of(self.network, people.images))
        told, discriminators = discriminator_losses(self.discriminators, people.images, made, self.options.penalty)
        players.descend(self.options.weights.adversarial * discriminators, DISCRIMINATORS)
        codes = codes_of(self.network, people.images)
        made = imitated(self.decoder, codes)
        losses = image_losses(self.network, self.decoder, self.discriminators, people.images, codes, made)
        losses |= self.reid_losses(people, made)
        weighted = [getattr(self.options.weights, name) * loss for name, loss in losses.items()]
        players.descend(torch.stack(weighted).sum(), "reid", GENERATORS)
        return detached(**losses, **told, alpha=self.network.alpha.clone())

    def reid_losses(self, people: People, made: Mapping[Modality, Imitations]) -> Parts:
        """Returns the losses of features of erased images, by their names in `Weights`."""
        pooled, labels = erased_features(self.network, self.erase, people, made)
        features = self.network.embedded(pooled)
        identity = identity_loss(self.classifier(features), labels)
        triplet = both_triplets(self.compared(features), labels, len(people.labels), self.options.margin)
        return {"identity": identity, "triplet": triplet}

    # ---- tested and shown

    @property
    def tested(self) -> nn.Module:
        return self.network

    def shown(self, visible: torch.Tensor, infrared: torch.Tensor) -> dict[str, torch.Tensor]:
        images = {VISIBLE: visible, INFRARED: infrared}
        rows = {}
        for one, made in imitated(self.decoder, codes_of(self.network, images)).items():
            rows[one.key] = images[one]
            rows |= {f"{one.key} {name}": getattr(made, name) for name in ("same", "cross", "relit")}
        return rows

    def translate(self, images: torch.Tensor, modality: Modality, style: torch.Tensor | None = None) -> torch.Tensor:
        if style is None:
            wanted = f"an image that is {modality.other.key}, whose illumination is taken"
            raise ValueError(f"style: expected {wanted}; found none")
        light = self.network.encode(style, modality.other).attributes
        return relit(self.decoder, self.network.encode(images, modality), light)
