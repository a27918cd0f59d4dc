"""The streams of batches that a method trains on: most have one, some draw several with sizes of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Set
from dataclasses import dataclass

from pipeline.batch import Batch
from pipeline.loading.sampling import TrainingTable
from pipeline.settings import Settings


@dataclass(frozen=True)
class Stream:
    """A series of batches.

    settings  the training's, but with the sizes and the augmentation of these batches
    tag       tells their random numbers from those of other streams of the same seed
    key       of the settings that give their sizes, for messages
    """

    settings: Settings
    tag: int = 0
    key: str = "batch"

    def check(self, table: TrainingTable, ranks: int, even: bool) -> None:
        """Raises ValueError for batches that can't be made of the images of `table`: of more identities, or more images
        where none may be repeated; and where `even` for ranks that can't have equal shares, of two identities or more.
        """
        found, identities = self.settings.batch.ids_per_batch, len(table.identities)
        fewest = min(len(rows) for of_modality in table.rows.values() for rows in of_modality)
        if not self.settings.batch.repeat_images and fewest < (wanted := self.settings.batch.images_per_modality):
            raise ValueError(
                f"{self.key}.images_per_modality: expected at most {fewest}, the fewest images of an identity in a "
                f"modality (batch.repeat_images=true samples them twice); found {wanted}"
            )
        if found > identities:
            raise ValueError(
                f"{self.key}.ids_per_batch: expected at most {identities}, the number of training identities; "
                f"found {found}"
            )
        if even and ranks > 1 and (found % ranks or found // ranks < 2):
            raise ValueError(
                f"{self.key}.ids_per_batch: expected a multiple of the {ranks} processes, two for each or more; "
                f"found {found}"
            )


class Streams:
    """The streams of a training, by name. They keep no state: one opens at whichever batch is wanted.

    begin: (stream, number) -> its batches, from that number on
    """

    def __init__(
        self, streams: Mapping[str, Stream], begin: Callable[[Stream, int], Generator[Batch, None, None]]
    ) -> None:
        self._streams, self._begin = streams, begin
        self._open: dict[str, tuple[Generator[Batch, None, None], int]] = {}  # and the number that comes next

    def rows(self, name: str) -> int:
        """Returns the rows of a global batch of a stream."""
        return self._streams[name].settings.batch.rows

    def take(self, name: str, number: int) -> Batch:
        """Returns batch `number` of a stream; the next one is made ahead, and any other costs a new start."""
        batches, coming = self._open.get(name, (None, 0))
        if batches is None or coming != number:
            self._close({name})
            batches = self._begin(self._streams[name], number)
        batch = next(batches)
        self._open[name] = batches, number + 1
        return batch

    def close_others(self, wanted: Collection[str]) -> None:
        """Ends the streams that aren't wanted, and what they have made ahead."""
        self._close(self._open.keys() - set(wanted))

    def close(self) -> None:
        self._close({*self._open})

    def _close(self, names: Set[str]) -> None:
        for name in names & self._open.keys():
            self._open.pop(name)[0].close()
