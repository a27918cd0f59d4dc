"""The index of a data set is read by one rank, however many there are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import prepare

PROJECT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("counted_reading.py")
TWO_RANKS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(PROJECT)}


@pytest.fixture()
def packs(people, tmp_path):
    with pytest.raises(SystemExit) as ended:
        prepare.main(
            ["data.dataset=folder", f"data.root={people}", "batch.ids_per_batch=4", "--pack", str(tmp_path / "packs")]
        )
    assert ended.value.code == 0
    return tmp_path / "packs"


def test_only_the_first_rank_compares_a_pack_with_its_folder(people, packs, tiny, tmp_path):
    arguments = ["configs/folder.yaml", *tiny, f"data.root={packs}", f"output={tmp_path}", "name=run"]
    command = [
        *TWO_RANKS,
        str(SCRIPT),
        str(tmp_path),
        str(people),
        *arguments,
        "train.epochs=1",
        "train.steps_per_epoch=1",
    ]
    ended = subprocess.run(command, env=ENVIRONMENT, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["stat"] >= 12 * 16  # every image of twelve people
    assert second == {}
