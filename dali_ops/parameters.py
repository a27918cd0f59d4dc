"""The layout of the numbers that decide how one view of one image is augmented: WIDTH float32 values.

0  CROP_Y          top of the crop, pixels into the padded image, a whole number in 0 .. 2 * pad; pad = the middle
1  CROP_X          its left edge, likewise
2  FLIP            1: mirror left and right, 0: don't
3  ERASING y       top of the erased box, pixels of the output frame (after crop and flip), a whole number
4          x       its left edge
5          height  0: nothing is erased; what lies outside the frame is ignored
6          width
7  DERIVATION      three numbers whose meaning each derivation defines (`derive`); unused ones are 0
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
DERIVATION = slice(7, 10)
WIDTH = 10
