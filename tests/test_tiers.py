"""The tiers of tests: which is which, and that the fast one stays fast."""

import subprocess
import sys

import pytest
from nvidia.dali import Pipeline

from tests.tiers import MEANING, TESTS, TIERS, tier_of_file


def test_every_test_has_a_tier_and_every_name_is_a_folder_or_a_file():
    assert {tier_of_file(file) for file in TESTS.rglob("test_*.py")} == set(MEANING)
    for name in " ".join(TIERS.values()).split():
        assert (TESTS / name).is_dir() or (TESTS / f"{name}.py").is_file(), name


def test_the_longest_name_counts():
    assert tier_of_file(TESTS / "losses" / "test_total.py") == "unit"
    assert tier_of_file(TESTS / "loading" / "test_batches.py") == "dali"
    assert tier_of_file(TESTS / "test_tiers.py") == "unit"


def test_a_test_of_the_fast_tier_starts_no_process_and_builds_no_pipeline():
    with pytest.raises(AssertionError, match="isn't of the tier it is in"):
        subprocess.run([sys.executable, "-c", ""])
    with pytest.raises(AssertionError, match="builds a DALI pipeline: "):
        Pipeline(batch_size=1, num_threads=1, device_id=None).build()
    assert subprocess.run(["git", "--version"], capture_output=True).returncode == 0
