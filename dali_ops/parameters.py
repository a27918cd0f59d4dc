"""The layout of the numbers that decide how one view of one image is augmented: `width(stages)` float32 values.

0  CROP_Y          top of the crop, pixels into the padded image, a whole number in 0 .. 2 * pad; pad = the middle
1  CROP_X          its left edge, likewise
2  FLIP            1: mirror left and right, 0: don't
3  ERASING y       top of the erased box, pixels of the output frame (after crop and flip), a whole number
4          x       its left edge
5          height  0: nothing is erased; what lies outside the frame is ignored
6          width
7  MIXING          four numbers whose meaning each way of mixing defines (`mixing`); zeros: nothing is mixed
11 stage 0         1: the first derivation is applied, 0: it is left out (looked at where its probability is below 1)
12                 three numbers whose meaning each derivation defines (`derive`); unused ones are 0
15 stage 1 ...     likewise, for as many stages as there are
"""

from __future__ import annotations

CROP_Y = 0
CROP_X = 1
CROP = slice(0, 2)
FLIP = 2
GEOMETRY = slice(0, 3)
ERASING_ANCHOR = slice(3, 5)
ERASING_SHAPE = slice(5, 7)
ERASING = slice(3, 7)
MIXING = slice(7, 11)
_STAGES, _STAGE_WIDTH = 11, 4


def width(stages: int) -> int:
    """Returns how many numbers a view with that many stages of derivation needs."""
    return _STAGES + stages * _STAGE_WIDTH


def applied(stage: int) -> int:
    """Returns the column that says whether a stage is applied."""
    return _STAGES + stage * _STAGE_WIDTH


def derivation(stage: int) -> slice:
    """Returns the columns of a stage's three numbers."""
    return slice(applied(stage) + 1, applied(stage) + _STAGE_WIDTH)
