"""A training of which each rank writes to `<out>/<rank>.json` how often it asked the system about images below a
folder, by kind of question."""

import json
import os
from collections import Counter

from pipeline import train

ASKED = ("stat", "lstat", "scandir", "listdir", "open")


def counting(name, folder, counts):
    ask = getattr(os, name)

    def asked(path=".", *arguments, **options):
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(folder):
            counts[name] += 1
        return ask(path, *arguments, **options)

    return asked


def train_counted(out, folder, arguments):
    counts = Counter()
    for name in ASKED:
        setattr(os, name, counting(name, folder, counts))
    train.main(arguments)
    (out / f"{os.environ['RANK']}.json").write_text(json.dumps(counts))
