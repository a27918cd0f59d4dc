"""The default sizes of a generated data set, and the largest."""

USUAL_IDENTITIES = 40
USUAL_IMAGES = {"sysu": 6, "regdb": 10, "llcm": 4, "folder": 5}  # layout -> images of an identity by one camera
SCALABLE = ("sysu", "regdb", "llcm")  # the layouts whose published numbers are known
LIMITS = {"identities": (4, 9999), "images_per_camera": (1, 9999), "seed": (0, 2**63 - 1), "workers": (1, 256)}


def check_number(name: str, value: int) -> None:
    """Raises ValueError where the number isn't within its limits; `name` is a key of `LIMITS`."""
    low, high = LIMITS[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name}: expected a whole number from {low} to {high}; found {value!r}")
