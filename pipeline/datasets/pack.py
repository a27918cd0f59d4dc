"""A data set packed into one Arrow IPC file a split: the encoded images untouched, and their index.

The files map into memory: opening one reads its index only, the ranks of a node share the pages, and pandas, Polars or
DuckDB read it as well. A pack stands for the folder it was made from, as `data.root`; the batches are the same. A pack
may hold the images decoded and resized instead: ten times larger, and nothing is left to do but to augment them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import uuid
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.batch import Modality
from pipeline.datasets.listing import HELD_OUT, SPLITS
from pipeline.files import UNFINISHED, force_to_disc

FORMAT = 1
DESCRIPTION = b"pipeline.pack"  # key of the schema's metadata
ROWS = 256  # images of a record batch, held in memory while packing
# the time of the file's last change in nanoseconds, its size, CRC-32 of the row, and the image
ADDED = [("modified", pa.int64()), ("size", pa.int64()), ("checksum", pa.uint32()), ("image", pa.large_binary())]
NOT_INDEX = [name for name, _ in ADDED if name != "image"]
INDEX = ("path", "identity", "camera", "modality", "name")  # columns of the index; `name` in user's folders only


# encoded images and their modalities -> their pixels (`image_shape`) as bytes
Resize = Callable[[list[bytes], list[int]], list[bytes]]


@dataclass(frozen=True)
class Description:
    """Description of a packing, the same in all of its files: files that differ in it don't belong together.

    splitting: the settings that decided who is in which split. source: the folder packed. published: whether the
    published numbers of images apply to it. rows: images by split. size: height and width of images that are held
    as uint8 HWC, three channels for visible and one for infrared; None: as they were encoded. interpolation: by which
    they were resized.
    """

    dataset: str
    splitting: dict[str, Any]
    source: str
    published: bool
    rows: dict[str, int]
    size: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    packing: str = field(default_factory=lambda: uuid.uuid4().hex)
    format: int = FORMAT


def is_packed(root: str | Path) -> bool:
    return any(file.exists() for file in pack_files(Path(root).expanduser()).values())


def describe(folder: str | Path) -> Description:
    """Returns the description in the first file of a packed folder; ValueError where it isn't whole."""
    return read_description(next(file for file in pack_files(Path(folder).expanduser()).values() if file.exists()))


def pack_files(folder: Path) -> dict[str, Path]:
    """Returns split -> its file, whether it is there or not."""
    return {split: folder / f"{split}.arrow" for split in (*SPLITS, HELD_OUT)}


# ---------------------------------------------------------------- writing


def write_packs(
    folder: Path,
    index: pd.DataFrame,
    description: Description,
    threads: int = 1,
    advance: Callable[[int], object] = lambda count: None,
    resize: Resize | None = None,
) -> int:
    """Packs the images of `index` and returns the number of bytes written. Earlier packs stay whole until the end.

    `advance` is called with the number of images packed since the last call; `resize` makes the pixels of a pack whose
    description has a size. Raises ValueError or OSError, with nothing left behind, for a folder that is no place for
    these packs (`check_place`), an image that can't be read, or a disk that is or gets full.
    """
    check_place(folder, description.dataset, description.splitting, description.source)
    folder.mkdir(parents=True, exist_ok=True)
    check_disk_space(folder, expected_bytes(index, description.size))
    files = pack_files(folder)
    unfinished = {split: folder / f"{UNFINISHED}{files[split].name}" for split in description.rows}
    try:
        for split, file in unfinished.items():
            rows = index[index["split"] == split]
            write_pack(file, split, rows, description, threads, advance, resize)
            force_to_disc(file)
    except BaseException:
        for file in unfinished.values():
            file.unlink(missing_ok=True)
        raise
    for split, file in files.items():
        if split in unfinished:
            os.replace(unfinished[split], file)
        else:
            file.unlink(missing_ok=True)  # of an earlier packing
    force_to_disc(folder)
    return sum(files[split].stat().st_size for split in unfinished)


def check_place(folder: Path, dataset: str, splitting: dict[str, Any], source: str) -> None:
    """Raises ValueError for the data set's own folder, and for packs of another data set, division or source.

    Packs that can't be read may be replaced: reading them raises an error that asks to pack again.
    """
    if folder.resolve() == Path(source).resolve():
        raise ValueError(f"{folder}: expected a folder of its own for the packs; found the data set's own folder")
    mine = {"dataset": dataset, **splitting, "root": source}
    for file in pack_files(folder).values():
        try:
            kept = read_description(file)
        except ValueError:
            continue
        there = {"dataset": kept.dataset, **kept.splitting, "root": kept.source}
        for name in there | mine:
            if there.get(name) != mine.get(name):
                raise ValueError(
                    f"{folder}: holds packs made with data.{name}={there.get(name)}; found data.{name}="
                    f"{mine.get(name)}; choose another folder or remove it"
                )


def expected_bytes(index: pd.DataFrame, size: tuple[int, int] | None) -> int:
    if size is None:
        return sum(os.path.getsize(path) for path in index["path"])
    return sum(math.prod(image_shape(modality, size)) for modality in index["modality"])


def image_shape(modality: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Returns height, width and channels of an image in a pack of a size."""
    return *size, 3 if modality == Modality.VISIBLE else 1


def check_disk_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder}: expected {needed / 1e6:.0f} MB of free disk for the packs; found {free / 1e6:.0f} MB"
        )


def write_pack(
    file: Path,
    split: str,
    rows: pd.DataFrame,
    description: Description,
    threads: int,
    advance: Callable[[int], object],
    resize: Resize | None,
) -> None:
    fields = index_fields(rows, description.source)
    kinds = [(name, pa.string() if name in ("path", "name") else pa.int64()) for name in fields]
    metadata = {DESCRIPTION: json.dumps(dataclasses.asdict(description))}
    schema = pa.schema([*kinds, *ADDED], metadata=metadata)
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
        ThreadPoolExecutor(threads) as pool,
    ):
        for start in range(0, len(rows), ROWS):
            chunk = fields[start : start + ROWS]
            read = list(pool.map(read_file, rows["path"][start : start + ROWS]))
            images, modified, sizes = map(list, zip(*read, strict=True))
            images = images if resize is None else resize(images, chunk["modality"].tolist())
            sums = [row_checksum(split, *row) for row in zip(chunk.itertuples(index=False), images, strict=True)]
            values = [chunk[name].tolist() for name in fields]
            writer.write_batch(pa.record_batch([*values, modified, sizes, sums, images], schema=schema))
            advance(len(chunk))


def index_fields(rows: pd.DataFrame, source: str) -> pd.DataFrame:
    """Returns the index as packs hold it: without the split, which the file stands for; paths relative to the source.

    Images outside of it keep their paths.
    """
    columns = [name for name in INDEX if name in rows]
    inside = os.path.join(source, "")
    return rows[columns].assign(path=[path.removeprefix(inside) for path in rows["path"]])


def read_file(path: str) -> tuple[bytes, int, int]:
    """Returns a file's content, the time of its last change in nanoseconds and its size."""
    with open(path, "rb") as file:
        content = file.read()
        return content, os.fstat(file.fileno()).st_mtime_ns, len(content)


def row_checksum(split: str, fields: tuple, image: bytes | np.ndarray) -> int:
    """Returns the CRC-32 of an image and of its row of the index."""
    content = image if isinstance(image, bytes) else image.data
    return zlib.crc32(content, zlib.crc32("\t".join(map(str, [split, *fields])).encode()))


# ---------------------------------------------------------------- reading


class Packs:
    """The packs of a folder, mapped into memory.

    index: columns as `listing.build_index` gives them; `path` is the pack's file and the stored path behind it.
    """

    def __init__(self, folder: str | Path) -> None:
        """Raises ValueError, one line with the reason, where packs are damaged, incomplete or of another format."""
        self.folder = Path(os.path.abspath(os.path.expanduser(folder)))
        files = pack_files(self.folder)
        first = next(file for file in files.values() if file.exists())
        self.description = read_description(first)
        self._files = {split: str(file) for split, file in files.items()}
        tables = {}
        for split, count in self.description.rows.items():
            if not files[split].exists():
                raise ValueError(f"{files[split]}: no such file; {first.name} belongs to it; pack the data set again")
            if read_description(files[split]) != self.description:
                raise ValueError(f"{files[split]}: is of another packing than {first.name}; pack the data set again")
            tables[split] = read_table(files[split], count)
        self.fields = pd.concat([table.drop(["image"]).to_pandas() for table in tables.values()], ignore_index=True)
        self.splits = np.repeat(list(tables), [len(table) for table in tables.values()]).tolist()
        self._images = pa.chunked_array([chunk for table in tables.values() for chunk in table["image"].chunks])
        self._rows = list(self.fields.drop(columns=NOT_INDEX).itertuples(index=False, name=None))
        self._checksums, self._modalities = self.fields["checksum"].tolist(), self.fields["modality"].tolist()

    @property
    def index(self) -> pd.DataFrame:
        fields = self.fields.drop(columns=NOT_INDEX)
        paths = [self.path(row) for row in range(len(fields))]
        after_modality = list(fields).index("modality") + 1
        fields.insert(after_modality, "split", self.splits)
        return fields.assign(path=paths)

    def path(self, row: int) -> str:
        return f"{self._files[self.splits[row]]}/{self._rows[row][0]}"

    def image(self, row: int) -> np.ndarray:
        """Returns the image of a row of the index, uint8, a view into the file: encoded, or HWC in a pack of a size.

        Raises ValueError, with the reason only, where the stored image isn't the one that was packed.
        """
        image = np.frombuffer(self._images[int(row)].as_buffer(), np.uint8)
        image.flags.writeable = False  # pyarrow lets NumPy believe that it may write into the mapping
        if row_checksum(self.splits[row], self._rows[row], image) != self._checksums[row]:
            raise ValueError("the pack is damaged there (checksum); pack the data set again")
        size = self.description.size
        return image if size is None else image.reshape(image_shape(self._modalities[row], size))

    def check_same(self, dataset: str, splitting: dict[str, Any]) -> None:
        """Raises ValueError where another data set, or the same divided in another way, is asked for."""
        asked = {"dataset": dataset, **splitting}
        packed = {"dataset": self.description.dataset, **self.description.splitting}
        for name in packed | asked:
            if asked.get(name) != packed.get(name):
                raise ValueError(
                    f"{self.folder}: was packed with data.{name}={packed.get(name)}; found data.{name}="
                    f"{asked.get(name)}; pack the data set again or ask for what is packed"
                )

    def check_not_stale(self, source: pd.DataFrame) -> None:
        """Raises ValueError naming an image that was added, removed, changed, or moved to another
        split, identity or camera since. `source`: the index of that folder as it is now."""
        now = index_fields(source, self.description.source).assign(split=source["split"].to_numpy())
        then = self.fields[list(now.columns[:-1])].assign(split=self.splits)
        if not then.equals(now):
            both = then.merge(now, how="outer", indicator=True)
            differing = both["path"][both["_merge"] != "both"].unique()
            listed = f"{len(differing)} images were added, removed or listed otherwise"
            raise self._stale(f"{listed} (first: {differing[0]})" if len(differing) else "their order has changed")
        for path, modified, size in zip(source["path"], self.fields["modified"], self.fields["size"], strict=True):
            found = os.stat(path)
            if (found.st_mtime_ns, found.st_size) != (modified, size):
                raise self._stale(f"{path} was changed")

    def _stale(self, reason: str) -> ValueError:
        source = self.description.source
        return ValueError(f"{self.folder}: is out of date: since {source} was packed, {reason}; pack it again")


def read_description(file: Path) -> Description:
    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
            content = json.loads(reader.schema.metadata[DESCRIPTION])
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: not a whole pack ({error}); pack the data set again") from None
    if content.get("format") != FORMAT:
        raise ValueError(f"{file}: expected a pack of format {FORMAT}; found {content.get('format')}; pack it again")
    return Description(**content | {"size": content["size"] and tuple(content["size"])})


def read_table(file: Path, count: int) -> pa.Table:
    """Returns the mapped table, its offsets and texts checked, its images not read."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        table.validate(full=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{file}: the pack is damaged ({error}); pack the data set again") from None
    if len(table) != count:
        raise ValueError(f"{file}: expected {count} images; found {len(table)}; pack the data set again")
    return table


def relative_paths(index: pd.DataFrame, root: str | Path) -> list[str]:
    """Returns paths relative to the data set's folder, the same for its packs; those outside of it stay as they are."""
    root = Path(os.path.abspath(os.path.expanduser(root)))
    # Not by split: identities that are held out of the training stay in its file.
    outer = [f"{place}/" for place in (pack_files(root).values() if is_packed(root) else (root,))]
    return [path.removeprefix(next(filter(path.startswith, outer), "")) for path in index["path"]]
