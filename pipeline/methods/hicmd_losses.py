"""The losses of Hi-CMD: of decoded images and their attributes, of discriminators, and of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from pipeline.batch import CAPTURED, Batch, Modality
from pipeline.gathering import gather_even
from pipeline.losses.cosine_triplet import pulled_cosine_triplet
from pipeline.losses.image_losses import gradient_penalty, least_squares, mean_absolute
from pipeline.losses.term import Parts
from pipeline.methods.game import pair_of
from pipeline.models.image.attributes import AttributeDecoder
from pipeline.models.image.disentangled import DisentangledNetwork
from pipeline.models.image.erasing import RandomErasing
from pipeline.models.image.exchange import Code, Imitations, imitations
from pipeline.precision import wide

VISIBLE, INFRARED = CAPTURED
DISCRIMINATOR_LOSSES = {one: f"{one.key}_discriminator" for one in CAPTURED}  # as discriminators' errors are reported
PARTS = 3  # every so many-th identity of a batch: in both modalities, in visible images only, in infrared images only
OF_PAIRS = 4  # rows of features of a modality for each pair: real, decoded, and two that are joined of both

Images = Mapping[Modality, torch.Tensor]
Codes = Mapping[Modality, Code]
Made = Mapping[Modality, Imitations]


class People(NamedTuple):
    """A batch in its parts: images of the same people by modality, their labels, and likewise those of others."""

    images: Images
    labels: torch.Tensor
    others: Images
    other_labels: Mapping[Modality, torch.Tensor]


def people_of(batch: Batch, images_per_modality: int = 1) -> People:
    """Returns the parts of a batch of both modalities whose rows show the same people, in float32 or wider.

    How two thirds of its people look in the modality they aren't seen in is left out.
    """
    of_identity = [rows.unflatten(0, (-1, images_per_modality)) for rows in pair_of(batch)]
    visible, infrared, labels = ([rows[part::PARTS].flatten(0, 1) for part in range(PARTS)] for rows in of_identity)
    return People(
        {VISIBLE: visible[0], INFRARED: infrared[0]},
        labels[0],
        {VISIBLE: visible[1], INFRARED: infrared[2]},
        {VISIBLE: labels[1], INFRARED: labels[2]},
    )


def codes_of(network: DisentangledNetwork, images: Images) -> Codes:
    """Returns the code of each modality's images."""
    return {one: network.encode(images[one], one) for one in CAPTURED}


def imitated(decoder: AttributeDecoder, codes: Codes) -> Made:
    """Returns the imitations of each modality's images."""
    return {one: imitations(decoder, codes[one], codes[one.other]) for one in CAPTURED}


def discriminator_losses(
    discriminators: nn.ModuleDict, images: Images, made: Made, penalty: float
) -> tuple[Parts, torch.Tensor]:
    """Returns each discriminator's mean squared error, to be reported; and what both minimize, a scalar.

    Both kinds of decoded images are compared with the same real ones, so all counts twice in the latter, with the
    gradient penalty of that weight. Not under autocast, as second derivatives are needed.
    """
    told, total = {}, []
    for one in CAPTURED:
        real = images[one].detach().requires_grad_()
        with torch.autocast(real.device.type, enabled=False):
            of_made, of_real = (discriminators[one.key](wide(seen)) for seen in (made[one].judged, real))
            loss = least_squares(of_made, 0.0) + least_squares(of_real, 1.0)
            total.append(2 * (loss + gradient_penalty(of_real, real, penalty)))
        told[DISCRIMINATOR_LOSSES[one]] = loss.detach() / (2 * len(of_real))
    return told, torch.stack(total).sum()


def image_losses(
    network: DisentangledNetwork,
    decoder: AttributeDecoder,
    discriminators: nn.ModuleDict,
    images: Images,
    codes: Codes,
    made: Made,
) -> Parts:
    """Returns the losses of images decoded of the codes, by name, each the sum over both modalities."""
    again = codes_of(network, {one: made[one].cross for one in CAPTURED})
    losses: dict[str, list[torch.Tensor]] = {}
    for one in CAPTURED:
        real, own = images[one], codes[one].attributes
        found, wanted = again[one].attributes, made[one].attributes
        cycled = decoder(again[one.other].prototypes, wanted.codes)
        of_one = {
            "same": mean_absolute(made[one].same, real),
            "cross": mean_absolute(made[one].cross, real),
            "cycle": mean_absolute(cycled, real),
            "attributes": mean_absolute(found.excluded, wanted.excluded) + mean_absolute(found.style, wanted.style),
            "excluded": wide(own.excluded).square().mean(),
            "adversarial": 2 * least_squares(discriminators[one.key](made[one].judged), 1.0),
        }
        for name, loss in of_one.items():
            losses.setdefault(name, []).append(loss)
    return {name: torch.stack(both).sum() for name, both in losses.items()}


def erased_features(
    network: DisentangledNetwork, erase: RandomErasing, people: People, made: Made
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns pooled features of erased images, and their labels. The decoded images among them teach no decoder.

    The rows of a modality: its real images, the cross ones, two joined of both; then the others of this modality.
    """
    pooled, labels = [], []
    for one in CAPTURED:
        groups = people.images[one], made[one].cross.detach(), people.others[one]
        pooled += joined_features(network, [erase(images) for images in groups], one)
        labels += [people.labels] * OF_PAIRS + [people.other_labels[one]]
    return torch.cat(pooled), torch.cat(labels)


def joined_features(
    network: DisentangledNetwork, groups: Sequence[torch.Tensor], modality: Modality
) -> list[torch.Tensor]:
    """Returns pooled features of real and decoded images, of the shape of each with the style of the other, and of the
    images of others. Each of the three groups goes through layers with batch norm by itself."""
    codes = [network.encode(images, modality) for images in groups]
    shapes = [network.shapes(code.prototypes) for code in codes]
    pairs = (0, 0), (1, 1), (0, 1), (1, 0), (2, 2)
    return [network.pooled(shapes[shape], codes[style].attributes.style) for shape, style in pairs]


def both_triplets(features: torch.Tensor, labels: torch.Tensor, pairs: int, margin: float) -> torch.Tensor:
    """Returns the triplet loss of visible anchors plus that of infrared ones, over the rows of all ranks, a scalar.

    features (N, D), labels (N,), as `erased_features` orders them, of as many `pairs`; the others are no anchors.
    """
    all_features, all_labels = gather_even(features), gather_even(labels)
    losses = []
    for first in (0, len(features) // 2):
        anchors, anchor_labels = (
            rows.unflatten(0, (-1, len(features)))[:, first : first + OF_PAIRS * pairs].flatten(0, 1)
            for rows in (all_features, all_labels)
        )
        losses.append(pulled_cosine_triplet(anchors, anchor_labels, all_features, all_labels, margin))
    return torch.stack(losses).sum()
