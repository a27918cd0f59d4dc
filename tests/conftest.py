"""Data sets of synthetic people, made once for all tests, and the tiers of tests."""

import os
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from pipeline.synthetic.generation import generate
from tests import tiers

SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_configure(config):
    for tier, meaning in tiers.MEANING.items():
        config.addinivalue_line("markers", f"{tier}: {meaning}")


def pytest_itemcollected(item):
    item.add_marker(tiers.tier_of(item))


# Not of the end of a test: with the last one of all, what others share ends as well, such as the cluster's processes.
@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    with tiers.kept(tiers.tier_of(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with tiers.kept(tiers.tier_of(item)):
        return (yield)


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """A data set in the folder layout: 12 identities, by two cameras of each modality, 4 images each."""
    root = tmp_path_factory.mktemp("people") / "set"
    generate("folder", root, identities=12, images_per_camera=4, seed=0, workers=1)
    return root


@pytest.fixture(scope="session")
def tiny():
    """Words of a configuration that trains on `people` in a second on one core."""
    return [
        "data.dataset=folder",
        "model.backbone=test_resnet",  # a ResNet of 0.4 million weights
        "augment.mean=[0.485,0.456,0.406]",  # as for most backbones, which this one isn't for
        "augment.std=[0.229,0.224,0.225]",
        "model.pretrained=false",
        "augment.height=32",
        "augment.width=16",
        "augment.pad=2",
        "batch.ids_per_batch=4",
        "batch.images_per_modality=2",
        "optimizer.lr=0.01",
        "loader.threads=1",
        "train.log_steps=1",
    ]


@pytest.fixture(scope="session")
def shared_folder():
    """Real data that isn't part of the project; tests that need it skip where it isn't there."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the folder {SHARED.name}/ beside the project")
    return SHARED


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Accelerate keeps its settings for the life of a process, and in its environment; every test chooses its own."""
    before = dict(os.environ)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ.clear()
    os.environ.update(before)
