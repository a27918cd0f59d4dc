"""Readers know a generated data set by its marker, and nothing of the generator."""

import json

from pipeline.datasets.marker import MARKER, read_marker
from pipeline.synthetic.generation import generate


def test_a_generated_set_is_known_by_its_marker_and_no_other_folder_is(tmp_path):
    generate("folder", tmp_path / "set", 4, 1, workers=1)
    assert read_marker(tmp_path / "set")["identities"] == 4
    assert read_marker(tmp_path) is None
    (tmp_path / MARKER).write_text(json.dumps({"made_by": "somebody"}))
    assert read_marker(tmp_path) is None
