"""Hi-CMD's exchange of codes: images of one modality, decoded with what the images of the other give to them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from pipeline.models.image.attributes import AttributeDecoder, Attributes


class Code(NamedTuple):
    """What the encoders of a modality make of its B images: prototypes (B, channels, H / 4, W / 4), and attributes."""

    prototypes: torch.Tensor
    attributes: Attributes


class Imitations(NamedTuple):
    """Images (B, 3, H, W) that imitate those of one modality, made with the help of the other's, of the same people.

    same        from their own prototypes, with their own pose and illumination and the style of the others
    cross       likewise, but from the prototypes of the others
    relit       the others, with the illumination of these
    attributes  of `same` and `cross`
    """

    same: torch.Tensor
    cross: torch.Tensor
    relit: torch.Tensor
    attributes: Attributes

    @property
    def judged(self) -> torch.Tensor:
        """(2 B, 3, H, W): those that discriminators see."""
        return torch.cat([self.cross, self.relit])


def imitations(decoder: AttributeDecoder, own: Code, others: Code) -> Imitations:
    """Returns imitations of the images that `own` is the code of."""
    exchanged = own.attributes._replace(style=others.attributes.style)
    light = others.attributes._replace(illumination=own.attributes.illumination)
    prototypes = torch.cat([own.prototypes, others.prototypes, others.prototypes])
    codes = torch.cat([exchanged.codes, exchanged.codes, light.codes])
    same, cross, lit = decoder(prototypes, codes).chunk(3)
    return Imitations(same, cross, lit, exchanged)


def relit(decoder: AttributeDecoder, code: Code, light: Attributes) -> torch.Tensor:
    """Returns images (B, 3, H, W) of a code with another illumination: that of B images, or of one for all."""
    illumination = light.illumination.expand_as(code.attributes.illumination)
    return decoder(code.prototypes, code.attributes._replace(illumination=illumination).codes)
