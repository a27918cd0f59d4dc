"""Settings of images: which, how many in a batch, what is done to them, how they are loaded."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from pipeline.batch import MODALITY_NAMES, Modality
from pipeline.settings_key import key

LearnedDerivation = Literal["x_modality", "middle"]
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class DataSettings:
    dataset: str = key("sysu", "layout of the folder `root`: a name in pipeline.datasets")
    root: str = key("data/sysu", "folder of the data set, or of its packs (python -m pipeline.prepare --pack)")
    trial: int = key(1, "RegDB: which of its ten splits (1-10) is trained on and tested on", min=1, max=10)
    train_splits: list[str] = key(
        ["train", "val"], "splits trained on, those that exist (SYSU-MM01: also [train])", choices=("train", "val")
    )
    test_split: Literal["test", "val", "validation"] = key(
        "test", "split evaluated on; val where there is one, validation: the identities held out of the training"
    )
    test_fraction: float = key(0.5, "folder: share of the identities kept for testing, 0-1", min=0, max=1)
    split_seed: int = key(0, "folder: seed of that division", min=0)
    split_file: str | None = key(
        None, "folder: CSV with the columns identity,split, e.g. a run's split.csv; null: the manifest's, or sampled"
    )


@dataclass(frozen=True)
class BatchSettings:
    ids_per_batch: int = key(8, "identities in a global batch, P of PK sampling (all ranks together)", min=2)
    images_per_modality: int = key(4, "captured images of an identity in a batch, per captured modality (K)", min=1)
    modalities: list[str] = key(
        list(MODALITY_NAMES), "modalities trained on, captured and derived", choices=MODALITY_NAMES
    )
    repeat_images: bool = key(True, "sample an image twice where an identity has too few (false: an error)")

    @property
    def rows(self) -> int:
        """Rows of a global batch: images of all modalities, the derived ones included."""
        return self.ids_per_batch * self.images_per_modality * len(self.modalities)


def check_area(group: str, area: tuple[float, float] | None) -> None:
    """Raises ValueError naming the key where the smallest share isn't the first."""
    if area is not None and area[0] > area[1]:
        raise ValueError(f"{group}.random_erasing_area: expected the smallest share first; found {list(area)}")


@dataclass(frozen=True)
class ModalityAugmentSettings:
    """What one modality has of its own; null: as all."""

    hflip_prob: float | None = key(None, "as augment.hflip_prob", min=0, max=1)
    random_erasing_prob: float | None = key(None, "as augment.random_erasing_prob", min=0, max=1)
    random_erasing_area: tuple[float, float] | None = key(None, "as augment.random_erasing_area", min=0, max=1)
    random_erasing_aspect: float | None = key(None, "as augment.random_erasing_aspect", min=0.01, max=1)
    random_erasing_fill: tuple[float, float, float] | None = key(None, "as augment.random_erasing_fill")


@dataclass(frozen=True)
class AugmentSettings:
    height: int = key(288, "pixels, of the network's input", min=16)
    width: int = key(144, "pixels, of the network's input", min=16)
    pad: int = key(10, "pixels added on each side before the random crop", min=0)
    pad_fill: int = key(0, "level of these pixels, 0 (black) to 255", min=0, max=255)
    hflip_prob: float = key(0.5, "probability of a horizontal flip", min=0, max=1)
    random_erasing_prob: float = key(0.0, "probability of random erasing (Zhong et al., AAAI 2020)", min=0, max=1)
    random_erasing_area: tuple[float, float] = key(
        (0.02, 0.4), "erased share of the image, smallest and largest", min=0, max=1
    )
    random_erasing_aspect: float = key(
        0.3, "smallest height / width of the erased box; the largest is its inverse", min=0.01, max=1
    )
    random_erasing_fill: tuple[float, float, float] = key(
        (0.0, 0.0, 0.0), "of the erased box in each channel, after normalization; to half a level of 256"
    )
    visible: list[str] = key(
        [],
        "what captured visible images go through in training, in the words of derive.visible: [gray:0.5]; their "
        "derivative is made of the image itself",
    )
    infrared: list[str] = key([], "what captured infrared images go through, likewise")
    modalities: dict[str, ModalityAugmentSettings] = key(
        {}, "flip and erasing of single modalities, where they differ: {infrared: {random_erasing_prob: 0.5}}"
    )
    interpolation: Interpolation = key(
        "bilinear", "of resized images; timm's evaluation of many weights uses bicubic, which changes little here"
    )
    mean: tuple[float, float, float] | None = key(
        None,
        "of red, green and blue, 0-1, for normalization; null: what timm names for the backbone's tag, or that of the "
        "run whose weights it starts from",
        min=0,
        max=1,
    )
    std: tuple[float, float, float] | None = key(None, "standard deviation, likewise", min=0.001)
    derivative_geometry: Literal["own", "shared"] = key(
        "own", "whether a derivative samples its own crop, flip and erasing or shares its base image's"
    )

    def __post_init__(self) -> None:
        for name, own in self.modalities.items():
            if name not in MODALITY_NAMES:
                raise ValueError(f"augment.modalities: expected some of {', '.join(MODALITY_NAMES)}; found {name!r}")
            given = any(value is not None for value in vars(own).values())
            if given and self.derivative_geometry == "shared" and Modality.from_name(name).is_derived:
                base = Modality.from_name(name).base.key
                raise ValueError(
                    f"augment.modalities: with derivative_geometry=shared {name} is as {base}; set {base} instead"
                )
            check_area(f"augment.modalities.{name}", own.random_erasing_area)
        check_area("augment", self.random_erasing_area)

    def whole(self) -> AugmentSettings:
        """Returns what leaves images whole and their colors true: flips alone."""
        return dataclasses.replace(self, pad=0, random_erasing_prob=0.0, visible=[], infrared=[], modalities={})

    def of(self, modality: Modality) -> AugmentSettings:
        """Returns what holds for the images of one modality; a derivative that shares a geometry has its base's."""
        source = modality.base if self.derivative_geometry == "shared" else modality
        own = self.modalities.get(source.key)
        given = {} if own is None else {name: value for name, value in vars(own).items() if value is not None}
        return dataclasses.replace(self, **given)


@dataclass(frozen=True)
class DeriveSettings:
    visible: list[str] = key(
        ["gray"],
        "how visible_derived is made: derivations of docs/derivations.md one after the other, each with a probability "
        "if you like ([weighted_gray, gamma:0.5]), or learned; what stands behind the word normalize acts on the "
        "normalized image, after crop, flip and erasing ([normalize, random_channel])",
    )
    infrared: list[str] = key(["spectrum"], "how infrared_derived is made, likewise")
    learned: LearnedDerivation = key(
        "x_modality", "what learned makes: XIV's X modality, or MMN's middle ones, which share a decoder"
    )
    mixing: Literal["none", "cutmix", "patches"] = key(
        "none", "let a box (cutmix) or squares (patches) of the captured image show through in its derivative"
    )
    mixing_probability: float = key(0.5, "of the derived images that are mixed", min=0, max=1)


@dataclass(frozen=True)
class LoaderSettings:
    device: Literal["auto", "cpu"] = key("auto", "where images are augmented: on the GPU that trains, or on the CPU")
    decode: Literal["auto", "cpu", "mixed"] = key(
        "auto",
        "auto: on the CPU (cpu), which gives the same pixels next to every GPU and rejects truncated images; "
        "mixed: JPEGs on the GPU, where neither is sure, for ranks with one or two cores",
    )
    image_type: Literal["float32", "float16", "bfloat16"] = key(
        "float32", "of the images handed out; the shorter ones halve their memory and are for GPUs"
    )
    threads: int | None = key(None, "CPU threads of a rank's loader; null: the cores it may use", min=1)
    prefetch: int = key(3, "batches prepared ahead, by each core that augments images", min=1)
    on_corrupt_image: Literal["error", "replace"] = key(
        "error",
        "a training image that can't be decoded stops the run (error), or another of the same identity and modality "
        "takes its place and is counted (replace)",
    )
