"""The index of a data set is read by one rank, however many there are."""

import json

import pytest

from pipeline import prepare
from tests.multiprocess.counted_reading import train_counted
from tests.multiprocess.ranks import fork_ranks


@pytest.fixture()
def packs(people, tmp_path):
    with pytest.raises(SystemExit) as ended:
        prepare.main(
            ["data.dataset=folder", f"data.root={people}", "batch.ids_per_batch=4", "--pack", str(tmp_path / "packs")]
        )
    assert ended.value.code == 0
    return tmp_path / "packs"


def test_only_the_first_rank_compares_a_pack_with_its_folder(people, packs, tiny, tmp_path):
    short = ["train.epochs=1", "train.steps_per_epoch=1", f"data.root={packs}", f"output={tmp_path}", "name=run"]
    fork_ranks(2, tmp_path, train_counted, tmp_path, str(people), ["configs/folder.yaml", *tiny, *short])
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["stat"] >= 12 * 16  # every image of twelve people
    assert second == {}
