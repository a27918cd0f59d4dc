"""Patches of a plain transformer that overlap (He et al., "TransReID", ICCV 2021): cut at a stride below their side.

There are more of them than position embeddings. So timm builds the model, and resamples its embeddings, for a larger
image, of which so many patches lie side by side; then its patches are cut out of the image itself, at the stride.
"""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

FAMILIES = (VisionTransformer, Eva)  # whose position embeddings follow the size they are built for


def size_side_by_side(size: Sequence[int], patch: Sequence[int], stride: int) -> tuple[int, int]:
    """Returns (height, width) of an image that has as many patches side by side as one of `size` has at a stride."""
    height, width = (((side - length) // stride + 1) * length for side, length in zip(size, patch, strict=True))
    return height, width


def patches_of(model: nn.Module, name: str, stride: int) -> PatchEmbed:
    """Returns what cuts a model's patches. Raises ValueError where they can't be cut at that stride."""
    patches = getattr(model, "patch_embed", None)
    if not isinstance(model, FAMILIES) or not isinstance(patches, PatchEmbed):
        known = ", ".join(family.__name__ for family in FAMILIES)
        raise ValueError(f"patch_stride: is for timm's {known} with plain patches; {name} is another: set it to null")
    side = min(patches.patch_size)
    if not 1 <= stride <= side:
        raise ValueError(f"patch_stride: expected 1 to {side}, the side of a patch of {name}; found {stride}")
    return patches


def size_to_build(model: nn.Module, name: str, size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Returns `size_side_by_side` of a model's patches. Raises ValueError where it can't have any."""
    patch = patches_of(model, name, stride).patch_size
    if size[0] < patch[0] or size[1] < patch[1]:
        raise ValueError(
            f"height, width: expected a patch of {name}, {patch[0]} x {patch[1]}, or more; found {size[0]} x {size[1]}"
        )
    return size_side_by_side(size, patch, stride)


def overlap_patches(model: nn.Module, name: str, size: tuple[int, int], stride: int) -> None:
    """Makes a model that was built for `size_to_build` one of images of `size`, in place."""
    patches = patches_of(model, name, stride)
    patches.proj.stride = (stride, stride)
    patches.img_size = size
