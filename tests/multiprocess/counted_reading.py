"""Run by the launcher: `counted_reading.py OUT FOLDER WORD...` trains, and each rank writes to `OUT/<rank>.json` how
often it asked the system about images below FOLDER, by kind of question."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

from pipeline import train

ASKED = ("stat", "lstat", "scandir", "listdir", "open")


def counting(name, folder, counts):
    ask = getattr(os, name)

    def asked(path=".", *arguments, **options):
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder):
            counts[name] += 1
        return ask(path, *arguments, **options)

    return asked


def main():
    out, folder, *arguments = sys.argv[1:]
    counts = Counter()
    for name in ASKED:
        setattr(os, name, counting(name, folder, counts))
    train.main(arguments)
    (Path(out) / f"{os.environ['RANK']}.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
