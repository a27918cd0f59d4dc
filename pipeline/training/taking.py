"""The batches of a step, and what is counted of them."""

from __future__ import annotations

import time

from pipeline.batch import Batch
from pipeline.training.state import Training


class StepBatches:
    """What a step has taken.

    images    rows, of all ranks
    replaced  captured images that others stood in for, on this rank
    waiting   seconds that this rank waited for data
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self.images, self.replaced, self.waiting = 0, 0, 0.0

    def next(self, name: str, number: int) -> Batch:
        """Returns batch `number` of a stream."""
        begin = time.perf_counter()
        batch = self._training.batches.take(name, number)
        self.waiting += time.perf_counter() - begin
        self.images += self._training.batches.rows(name)
        self.replaced += batch.replaced
        return batch
