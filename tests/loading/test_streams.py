"""Streams: each opens at whichever batch is wanted, and its random numbers are its own."""

import numpy as np
import pytest

from dali_ops.views import View
from pipeline.batch import Modality
from pipeline.config import load_config
from pipeline.loading.sampling import TrainingTable, plan_batch
from pipeline.loading.streams import Stream, Streams


@pytest.fixture()
def opened():
    return []


@pytest.fixture()
def streams(opened):
    def begin(stream, number):
        opened.append((stream, number))
        try:
            while True:
                yield f"{stream} {number}"
                number += 1
        finally:
            opened.append((stream, "closed"))

    return Streams({"a": "A", "b": "B"}, begin)


def test_batches_come_in_order_without_a_new_start(streams, opened):
    assert [streams.take("a", 4), streams.take("b", 0), streams.take("a", 5), streams.take("b", 1)] == [
        "A 4",
        "B 0",
        "A 5",
        "B 1",
    ]
    assert opened == [("A", 4), ("B", 0)]


def test_another_batch_than_the_next_one_begins_anew(streams, opened):
    streams.take("a", 0)
    assert streams.take("a", 7) == "A 7"
    assert opened == [("A", 0), ("A", "closed"), ("A", 7)]


def test_streams_that_are_not_wanted_end_and_open_again_later(streams, opened):
    streams.take("a", 0)
    streams.take("b", 0)
    streams.close_others({"a"})
    assert opened[-1] == ("B", "closed")
    assert streams.take("b", 9) == "B 9" and streams.take("a", 1) == "A 1"
    streams.close()
    assert sorted(map(str, opened[-2:])) == ["('A', 'closed')", "('B', 'closed')"]


def test_a_tag_gives_other_people_images_and_crops_and_none_gives_those_of_before():
    settings = load_config([])
    bases = (Modality.VISIBLE, Modality.INFRARED)
    views = {base: View(base.key) for base in bases}
    table = TrainingTable(np.arange(40), {base: [np.arange(9) + 9 * label for label in range(40)] for base in bases})

    def plan(**tag):
        return plan_batch(table, views, settings.batch, settings.augment, 0, 3, **tag)

    assert np.array_equal(plan().parameters, plan(tag=0).parameters)
    one, other = plan(tag=1), plan(tag=2)
    for first, second in ((plan(), one), (plan(), other), (one, other)):
        assert not np.array_equal(first.labels, second.labels)
        assert not np.array_equal(first.parameters, second.parameters)


def test_a_stream_knows_its_rows():
    settings = load_config(["batch.ids_per_batch=5", "batch.images_per_modality=3"])
    assert Streams({"a": Stream(settings)}, lambda *more: iter(())).rows("a") == 5 * 3 * 4
