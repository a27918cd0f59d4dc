"""Views: the outputs of the training graph."""

from __future__ import annotations

from dataclasses import dataclass

from nvidia.dali.data_node import DataNode

from dali_ops import parameters as layout
from dali_ops.decode import CHANNELS
from dali_ops.derive.stages import Stage, apply_stages, without_normalized
from dali_ops.mixing import MIXINGS
from dali_ops.normalize import replicate_to


@dataclass(frozen=True)
class View:
    """The captured images of a modality (no stages), or what stages of derivation make of them.

    mixing              a name in `mixing.MIXINGS`: parts of the captured image show through in the derived one; or None
    mixing_probability  with which an image is mixed
    fill                value of erased boxes after normalization, of red, green and blue; None: none are erased
    """

    base: str
    stages: tuple[Stage, ...] = ()
    mixing: str | None = None
    mixing_probability: float = 1.0
    fill: tuple[float, float, float] | None = None

    @property
    def is_random(self) -> bool:
        """Whether the graph looks at the view's `parameters`, apart from its crop and flip."""
        random = any(stage.is_random for stage in without_normalized(self.stages))
        return random or self.mixing is not None or self.fill is not None


def show(view: View, captured: DataNode, numbers: DataNode, *, height: int, width: int) -> tuple[DataNode, int]:
    """Returns what a view shows of captured uint8 HWC images of (height, width), and its channels.

    numbers: the view's `parameters`.
    """
    channels = CHANNELS[view.base]
    size = {"height": height, "width": width}
    image, given = apply_stages(captured, channels, view.stages, numbers, **size)
    if view.mixing is None:
        return image, given
    both = max(channels, given)
    image, captured = replicate_to(image, given, both), replicate_to(captured, channels, both)
    return MIXINGS[view.mixing].graph(image, captured, numbers[layout.MIXING], **size), both
