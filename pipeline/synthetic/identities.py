"""How the identities of a generated data set look: the appearance of every number.

A cloth's near-infrared reflectance follows its lightness where it is colored by pigments and doesn't where it is dyed;
which of the two it is can't be seen in visible light. Warmth is independent of both. So no formula leads from the
visible image to the infrared one, and yet a wardrobe looks more like itself than like others.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np

from pipeline.synthetic.body.appearance import (
    Appearance,
    Bottom,
    Build,
    Carried,
    Color,
    Hair,
    Material,
    Part,
    Top,
    color_of,
)

APPEARANCE_STREAM = 1  # keeps these random numbers apart from those of scenes, cameras, images and splits


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    shares = np.array(list(weights.values()))
    return list(weights)[int(rng.choice(len(shares), p=shares / shares.sum()))]


def _build(rng: np.random.Generator) -> Build:
    heavy = rng.beta(2, 3)
    return Build(
        stature=rng.uniform(0.92, 1.04),
        head=rng.uniform(0.125, 0.15),
        shoulder=rng.uniform(0.092, 0.118) + 0.022 * heavy,
        waist=rng.uniform(0.068, 0.082) + 0.06 * heavy,
        hip=rng.uniform(0.078, 0.098) + 0.045 * heavy,
        depth=rng.uniform(0.058, 0.068) + 0.05 * heavy,
        hip_height=rng.uniform(0.455, 0.54),
        arm=0.023 + 0.014 * heavy + rng.uniform(0, 0.004),
        leg=0.040 + 0.022 * heavy + rng.uniform(0, 0.006),
        stoop=rng.uniform(-0.02, 0.10),
    )


def _hair(rng: np.random.Generator) -> Hair:
    style = {"bald": 0.08, "short": 0.32, "curly": 0.1, "bob": 0.15, "long": 0.17, "ponytail": 0.1, "bun": 0.08}
    chosen = _choose(rng, style)
    return Hair(
        style=chosen,
        beard=bool(chosen in ("bald", "short", "curly") and rng.random() < 0.3),
        glasses=bool(rng.random() < 0.25),
        hat=_choose(rng, {"none": 0.66, "cap": 0.14, "beanie": 0.12, "brimmed": 0.08}),
    )


# kind: (share, sleeve range, hem below the hips as a share of the leg, looseness, flare)
TOPS = {
    "t-shirt": (0.22, (0.25, 0.50), (0.02, 0.12), 0.004, 0.004),
    "sleeveless": (0.07, (0.0, 0.06), (0.00, 0.08), 0.001, 0.002),
    "long-sleeve": (0.15, (0.92, 1.0), (0.00, 0.12), 0.006, 0.003),
    "hoodie": (0.16, (1.0, 1.0), (0.04, 0.14), 0.016, 0.000),
    "jacket": (0.16, (1.0, 1.0), (0.02, 0.16), 0.014, 0.006),
    "puffer": (0.10, (1.0, 1.0), (0.00, 0.14), 0.030, 0.000),
    "coat": (0.14, (1.0, 1.0), (0.34, 0.78), 0.016, 0.035),
}
OUTERWEAR = ("jacket", "coat")


def _top(rng: np.random.Generator, build: Build) -> Top:
    kind = _choose(rng, {name: values[0] for name, values in TOPS.items()})
    _, sleeve, hem, loose, flare = TOPS[kind]
    leg = 1 - build.hip_height
    opened = kind in OUTERWEAR and rng.random() < 0.75
    patterns = {
        "plain": 0.36,
        "stripes": 0.13,
        "block": 0.14,
        "sleeves": 0.12,
        "print": 0.12,
        "sides": 0.07,
        "band": 0.1,
    }
    return Top(
        kind=kind,
        sleeve=rng.uniform(*sleeve),
        hem=build.hip_height + leg * rng.uniform(*hem),
        loose=loose * rng.uniform(0.8, 1.4),
        flare=flare * rng.uniform(0.4, 1.6),
        opening=rng.uniform(0.22, 0.75) if opened else 0.0,
        pattern=_choose(rng, patterns),
        pattern_size=rng.random(),
        hood=_choose(rng, {"down": 0.75, "up": 0.25}) if kind == "hoodie" else "none",
        belt=bool(kind == "coat" and rng.random() < 0.45),
        quilted=kind == "puffer",
    )


# kind: (share, covered share of the leg, width at the ankle, skirt, flare)
BOTTOMS = {
    "slim trousers": (0.30, (0.88, 0.97), (1.15, 1.35), False, (0.0, 0.0)),
    "wide trousers": (0.18, (0.95, 1.0), (1.7, 2.2), False, (0.0, 0.0)),
    "cropped trousers": (0.10, (0.68, 0.80), (1.3, 1.9), False, (0.0, 0.0)),
    "shorts": (0.15, (0.30, 0.50), (1.3, 1.7), False, (0.0, 0.0)),
    "short skirt": (0.10, (0.30, 0.46), (1.0, 1.0), True, (0.01, 0.05)),
    "long skirt": (0.09, (0.62, 0.92), (1.0, 1.0), True, (0.02, 0.07)),
    "dress": (0.08, (0.40, 0.85), (1.0, 1.0), True, (0.02, 0.06)),
}


def _bottom(rng: np.random.Generator) -> Bottom:
    kind = _choose(rng, {name: values[0] for name, values in BOTTOMS.items()})
    _, cover, width, skirt, flare = BOTTOMS[kind]
    return Bottom(
        kind=kind,
        cover=rng.uniform(*cover),
        width=rng.uniform(*width),
        skirt=skirt,
        flare=rng.uniform(*flare),
        pattern=_choose(rng, {"plain": 0.7, "side": 0.15, "hem": 0.15}),
        boots=rng.uniform(0.22, 0.5) if rng.random() < (0.3 if skirt else 0.12) else 0.0,
    )


# (share, hue, saturation, value) of cloth: few colors are common, so that a color alone does not tell who it is
COLORS = (
    (0.26, 0.62, 0.10, 0.10),  # black
    (0.12, 0.60, 0.06, 0.30),  # dark gray
    (0.13, 0.63, 0.55, 0.24),  # navy
    (0.10, 0.60, 0.45, 0.48),  # denim
    (0.09, 0.12, 0.03, 0.58),  # gray
    (0.09, 0.12, 0.04, 0.88),  # white
    (0.06, 0.11, 0.30, 0.70),  # beige
    (0.05, 0.07, 0.50, 0.35),  # brown
)
VIVID = {"saturation": (0.35, 0.75), "value": (0.3, 0.8)}  # the rest: any hue


def _color(rng: np.random.Generator) -> Color:
    """Samples a color that clothes have: mostly dark or dull, sometimes vivid."""
    left = rng.random()
    for share, hue, saturation, value in COLORS:
        left -= share
        if left < 0:
            shift = rng.normal(0, 1, 3)
            hue, saturation = hue + 0.02 * shift[0], saturation + 0.03 * shift[1]
            value = value * (1 + 0.08 * shift[2])
            return colorsys.hsv_to_rgb(float(hue) % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0.03, 1)))
    saturation, value = rng.uniform(*VIVID["saturation"]), rng.uniform(*VIVID["value"])
    return colorsys.hsv_to_rgb(rng.random(), float(saturation), float(value))


INFRARED_LEVELS = (0.22, 0.48, 0.78)  # dyed fabrics reflect little, half or much, whatever their color
PIGMENTED = 0.7  # share of the fabrics whose reflectance follows their lightness
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G, B (ITU-R BT.601)


def _cloth(rng: np.random.Generator, thermal: float, other: Material | None = None) -> Material:
    """Samples a pigmented or dyed cloth; warmth by thickness, which `thermal` stands for.

    Mostly it can be told from the material `other` next to it, in visible light as in infrared.
    """
    for _ in range(4):
        color = _color(rng)
        if rng.random() < PIGMENTED:
            level = 0.12 + 0.76 * float(np.dot(LUMINANCE, color))
        else:
            level = rng.choice(INFRARED_LEVELS)
        infrared = float(level + rng.uniform(-0.05, 0.05))
        made = Material(color, infrared, thermal + float(rng.uniform(-0.06, 0.06)))
        if other is None or _stand_apart(made, other):
            break
    return made


def _stand_apart(one: Material, other: Material) -> bool:
    visible = max(abs(a - b) for a, b in zip(one.visible, other.visible, strict=True))
    return visible > 0.12 and abs(one.infrared - other.infrared) > 0.12


def _second(rng: np.random.Generator, base: Material) -> Material:
    """Samples a print or trim on `base`: often dye, which infrared light does not see."""
    color = _color(rng)
    if max(abs(a - b) for a, b in zip(color, base.visible, strict=True)) < 0.25:
        color = color_of(0.15 + 0.85 * channel if sum(base.visible) < 1.5 else 0.35 * channel for channel in color)
    dyed = rng.random() < 0.4
    other = (base.infrared + rng.uniform(0.3, 0.6)) % 0.9 + 0.05
    infrared = base.infrared + rng.uniform(-0.03, 0.03) if dyed else other
    return Material(color, float(np.clip(infrared, 0.03, 1)), base.thermal + float(rng.uniform(-0.03, 0.03)))


# hue, saturation, value: black, dark brown, brown, red, blond, gray
HAIR_COLORS = (
    (0.07, 0.30, 0.09),
    (0.06, 0.50, 0.20),
    (0.07, 0.60, 0.34),
    (0.05, 0.70, 0.42),
    (0.13, 0.50, 0.78),
    (0.10, 0.03, 0.60),
)
# warmth of a top's outside, by kind; quilted ones are the coolest
THICKNESS = {"t-shirt": 0.66, "sleeveless": 0.70, "long-sleeve": 0.58, "hoodie": 0.48, "jacket": 0.42, "coat": 0.36}


def _materials(rng: np.random.Generator, top: Top, bottom: Bottom) -> dict[Part, Material]:
    tone = rng.beta(1.5, 2)
    skin = color_of(float(np.interp(tone, (0, 1), ends)) for ends in ((0.93, 0.40), (0.76, 0.26), (0.65, 0.18)))
    hair = colorsys.hsv_to_rgb(*HAIR_COLORS[int(rng.choice(6, p=(0.32, 0.26, 0.16, 0.06, 0.1, 0.1)))])
    main = _cloth(rng, THICKNESS.get(top.kind, 0.34))
    legs = _cloth(rng, {"wide trousers": 0.46, "long skirt": 0.46}.get(bottom.kind, 0.54), main)
    if bottom.kind == "dress" and top.kind in ("t-shirt", "sleeveless", "long-sleeve"):
        legs = Material(main.visible, main.infrared, main.thermal - 0.05)
    shoe, hat, bag = _cloth(rng, 0.40, legs), _cloth(rng, 0.50), _cloth(rng, 0.24, main)
    stocking = _cloth(rng, 0.72)
    flesh = Material(skin, float(rng.uniform(0.62, 0.78)), 0.93)
    return {
        Part.SKIN: flesh,
        Part.HAIR: Material(hair, float(rng.uniform(0.15, 0.6)), float(rng.uniform(0.55, 0.68))),
        Part.FEATURE: Material((0.1, 0.07, 0.06), 0.15, 0.80),
        Part.TOP: main,
        Part.TOP_SECOND: _second(rng, main),
        Part.TOP_TRIM: _second(rng, main),
        Part.INNER: _cloth(rng, 0.68, main),
        Part.BOTTOM: legs,
        Part.BOTTOM_SECOND: _second(rng, legs),
        Part.STOCKING: stocking if bottom.skirt and rng.random() < 0.5 else flesh,
        Part.SHOE: shoe,
        Part.SOLE: _second(rng, shoe),
        Part.HAT: hat,
        Part.HAT_SECOND: _second(rng, hat),
        Part.BAG: bag,
        Part.BAG_SECOND: _second(rng, bag),
        Part.SCARF: _cloth(rng, 0.45, main),
    }


@lru_cache(maxsize=256)
def make_appearance(seed: int, identity: int) -> Appearance:
    """Returns the appearance of this identity: a pure function of (seed, identity), both non-negative."""
    rng = np.random.default_rng([seed, APPEARANCE_STREAM, identity])
    build, hair = _build(rng), _hair(rng)
    top, bottom = _top(rng, build), _bottom(rng)
    bags = {"none": 0.34, "backpack": 0.24, "crossbody": 0.14, "handbag": 0.12, "tote": 0.09, "suitcase": 0.07}
    carried = Carried(
        bag=_choose(rng, bags),
        bag_size=rng.random(),
        side=1 if rng.random() < 0.5 else -1,
        scarf=bool(rng.random() < (0.1 if top.sleeve < 0.9 else 0.3)),
    )
    return Appearance(build, hair, top, bottom, carried, _materials(rng, top, bottom))
