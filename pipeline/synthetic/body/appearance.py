"""How a generated person looks: build, hair, clothes, what they carry, and what each of these is made of.

Everything here stays the same in all images of a person. Lengths are in units of the person's stature: y = 0 is the
top of the head, y = 1 the floor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

Color = tuple[float, float, float]  # red, green, blue in 0..1


def color_of(channels: Iterable[float]) -> Color:
    red, green, blue = channels
    return red, green, blue


class Part(IntEnum):
    """The part that a pixel of the map shows; a modality turns it into a color (`Appearance.materials`)."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    FEATURE = 3  # eyes, brows, glasses
    TOP = 4
    TOP_SECOND = 5  # stripes, blocks, prints, sleeves of another color
    TOP_TRIM = 6  # zip, collar, belt
    INNER = 7  # the shirt under an open jacket
    BOTTOM = 8
    BOTTOM_SECOND = 9
    STOCKING = 10
    SHOE = 11
    SOLE = 12
    HAT = 13
    HAT_SECOND = 14
    BAG = 15
    BAG_SECOND = 16
    SCARF = 17
    OBSTACLE = 18
    OBSTACLE_SECOND = 19


@dataclass(frozen=True)
class Material:
    """How a surface looks to each kind of camera; every value in 0..1."""

    visible: Color
    infrared: float
    thermal: float


@dataclass(frozen=True)
class Build:
    stature: float  # size relative to other people, 1 = average
    head: float  # height of the head
    shoulder: float  # half widths, seen from the front
    waist: float
    hip: float
    depth: float  # half depth of the chest, seen from the side
    hip_height: float  # y of the hip line: small = long legs
    arm: float  # radius of the upper arm
    leg: float  # radius of the thigh
    stoop: float  # forward lean, radians


@dataclass(frozen=True)
class Hair:
    style: str  # bald, short, curly, bob, long, ponytail, bun
    beard: bool
    glasses: bool
    hat: str  # none, cap, beanie, brimmed


@dataclass(frozen=True)
class Top:
    kind: str
    sleeve: float  # covered share of the arm, 0..1
    hem: float  # y of the lower edge
    loose: float  # distance of the cloth from the body
    flare: float  # extra half width at the hem
    opening: float  # half angle of the open front, radians; 0 = closed
    pattern: str  # plain, stripes, block, sleeves, print, sides, band
    pattern_size: float  # 0..1
    hood: str  # none, down, up
    belt: bool
    quilted: bool


@dataclass(frozen=True)
class Bottom:
    kind: str
    cover: float  # covered share of the leg, 0..1
    width: float  # radius at the ankle relative to the leg's own
    skirt: bool
    flare: float
    pattern: str  # plain, side, hem
    boots: float  # height of the boots as a share of the leg, 0 = shoes


@dataclass(frozen=True)
class Carried:
    bag: str  # none, backpack, crossbody, handbag, tote, suitcase
    bag_size: float  # 0..1
    side: int  # +1: the person's left, -1: right
    scarf: bool


@dataclass(frozen=True)
class Appearance:
    build: Build
    hair: Hair
    top: Top
    bottom: Bottom
    carried: Carried
    materials: dict[Part, Material]
