"""How many identities and images the published data sets have, by split, modality and camera."""

from __future__ import annotations

from pipeline.batch import Modality
from pipeline.datasets.sysu import VISIBLE_CAMERAS

# (split, modality, camera) -> number of images
Counts = dict[tuple[str, Modality, int], int]

# cam1 .. cam6 of the official split (Wu et al., ICCV 2017)
SYSU_IMAGES = {
    "train": (4721, 5753, 5929, 4821, 4989, 4000),
    "val": (0, 0, 1980, 990, 984, 0),
    "test": (1374, 1565, 1883, 1918, 1918, 1920),
}
# of both modalities together
IDENTITIES = {
    "sysu": {"train": 296, "val": 99, "test": 96},
    "regdb": {"train": 206, "test": 206},
    "llcm": {"train": 713, "test": 351},
}
REGDB_IMAGES = 2060  # of each modality in each half (Nguyen et al., Sensors 2017)
TOTAL_IMAGES = {"llcm": 46767}  # Zhang & Wang, CVPR 2023


def published_images(dataset: str) -> Counts:
    """The published numbers of images; empty where the data set has none by camera or modality (llcm, folder)."""
    if dataset == "sysu":
        return {
            (split, Modality.VISIBLE if camera in VISIBLE_CAMERAS else Modality.INFRARED, camera): count
            for split, counts in SYSU_IMAGES.items()
            for camera, count in enumerate(counts, 1)
            if count
        }
    if dataset == "regdb":
        both = ((Modality.VISIBLE, 1), (Modality.INFRARED, 2))
        return {(split, *which): REGDB_IMAGES for split in ("train", "test") for which in both}
    return {}
