"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

UNFINISHED = "unfinished-"  # how the names of files and folders begin that are still being written


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with another name next to `path`, fsyncs the file and only then renames it.

    A failure, such as a full disk, leaves `path` as it was and nothing next to it.
    """
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    try:
        write(unfinished)
        unfinished.chmod(0o666 & ~current_umask())  # safetensors would keep it from all but its owner
        force_to_disc(unfinished)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    os.replace(unfinished, path)


def write_atomically(path: Path, content: str) -> None:
    """Writes a text file that is there whole or not at all."""
    replace_atomically(path, lambda unfinished: unfinished.write_text(content))


def current_umask() -> int:
    """Returns the umask of this process."""
    umask = os.umask(0)  # there is no other way to ask
    os.umask(umask)
    return umask


def force_to_disc(path: Path) -> None:
    """Fsyncs a file's content, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
