"""Trackers: TensorBoard and Weights & Biases get the metrics and results of a run, and never end or stop its training.

They run on the first rank. One that fails is left out from then on, with a warning.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker

from pipeline.config import describe
from pipeline.files import write_atomically
from pipeline.settings import Settings

TRACKING = "tracking.json"  # of a run folder: what trackers call the run
# Seconds that W&B may take, in which all ranks wait; what the user's environment says is kept.
WANDB_LIMITS = {"WANDB_LOGIN_TIMEOUT": "30", "WANDB_INIT_TIMEOUT": "30", "WANDB_FINISH_TIMEOUT": "60"}

log = logging.getLogger("pipeline")


class Trackers:
    """The running trackers of a run; none until `start`. names: of those to start, of `train.trackers`."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = [*names]
        self.running: dict[str, GeneralTracker] = {}

    def start(self, settings: Settings, folder: Path, step: int | None) -> None:
        """Starts the trackers of the run in `folder`, which goes on after `step`.

        What they have of later steps is replaced; `step` None: nothing is trained any more, only evaluated.
        """
        for name in self.names:
            self._call(name, partial(self._start, name, settings, folder, step))

    def _start(self, name: str, settings: Settings, folder: Path, step: int | None) -> None:
        tracker = MAKERS[name](settings, folder, step)
        tracker.start()
        if step == 0 or name != "tensorboard":  # which would add another run in a folder of its own
            tracker.store_init_configuration({key: str(value) for key, value, _ in describe(settings)})
        self.running[name] = tracker

    def log(self, values: dict[str, float], step: int) -> None:
        """Gives values by name to all running trackers."""
        for name, tracker in [*self.running.items()]:
            self._call(name, partial(tracker.log, values, step=step))

    def log_image(self, name: str, image: np.ndarray, step: int) -> None:
        """Gives an image (height, width, 3) uint8 to all running trackers."""
        for tracker_name, tracker in [*self.running.items()]:
            layout = {"dataformats": "NHWC"} if tracker_name == "tensorboard" else {}
            self._call(tracker_name, partial(tracker.log_images, {name: image[None]}, step=step, **layout))

    def finish(self) -> None:
        """Ends all running trackers, after what they have yet to write or send."""
        for name, tracker in [*self.running.items()]:
            self._call(name, tracker.finish)
        self.running.clear()

    def _call(self, name: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:  # of other packages, networks and disks
            self.running.pop(name, None)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning(f"train.trackers: {name} failed and is left out from now on ({reason})")


def tensorboard_tracker(settings: Settings, folder: Path, step: int | None) -> GeneralTracker:
    wait_for_next_second(folder / str(settings.name))
    purge = {} if step is None else {"purge_step": step + 1}
    return TensorBoardTracker(str(settings.name), str(folder), **purge)


def wait_for_next_second(folder: Path) -> None:
    """Waits until a new file of TensorBoard's is the last in the order of their names, which tell the second.

    A file that replaces steps of another has to come after it. It waits a second at most.
    """
    if any(folder.glob(f"events.out.tfevents.{int(time.time())}.*")):
        time.sleep(1)


def wandb_tracker(settings: Settings, folder: Path, step: int | None) -> GeneralTracker:
    for name, seconds in WANDB_LIMITS.items():
        os.environ.setdefault(name, seconds)
    return WandBTracker(
        settings.train.wandb_project,
        name=settings.name,
        id=wandb_id(folder, anew=step == 0),
        resume="allow",
        dir=str(folder),
    )


def wandb_id(folder: Path, anew: bool) -> str:
    """Returns W&B's name for the run in `folder`, which is kept there: the former one unless the run begins anew."""
    file = folder / TRACKING
    if not anew and file.is_file():
        return json.loads(file.read_text())["wandb_id"]
    made = uuid.uuid4().hex  # of the system's random numbers, not of the training's
    write_atomically(file, json.dumps({"wandb_id": made}) + "\n")
    return made


MAKERS: dict[str, Callable[[Settings, Path, int | None], GeneralTracker]] = {
    "tensorboard": tensorboard_tracker,
    "wandb": wandb_tracker,
}
