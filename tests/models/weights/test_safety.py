"""Files that hold more than tensors: read without importing, calling or executing any of it."""

import argparse
import io
import os
import pickle
import sys
import types
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from pipeline.models.weights import files
from pipeline.models.weights.files import read_tensors
from tests.models.weights.files import assert_equal_weights, load, model, save, shuffled


@pytest.fixture(scope="module")
def source():
    return shuffled(model())


class Call:
    """Pickled as the call of a function: what a harmful file holds."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


FORMATS = {
    "zip": {},
    "older than zip": {"_use_new_zipfile_serialization": False},
    "protocol 4": {"pickle_protocol": 4},
    "older than zip, protocol 4": {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
}


def harmful(place):
    touch = f"open({str(place)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, f"touch {place}"),
        "exec": Call(exec, touch),
        "eval": Call(eval, touch),
        "Path.touch": Call(Path.touch, Path(place)),
        "open": Call(open, str(place), "w"),
        "a key": {Call(os.mkdir, str(place)): 1},
        "loads": Call(pickle.loads, pickle.dumps(Call(os.mkdir, str(place)))),
    }


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("what", harmful("x"))
def test_nothing_in_a_file_is_executed(what, how, source, tmp_path):
    place, backbone = tmp_path / "executed", model()
    path = save({"state_dict": source.state_dict(), "more": harmful(place)[what]}, tmp_path / "w.pth", **FORMATS[how])
    assert not place.exists()  # saving doesn't execute it
    load(backbone, path)
    assert_equal_weights(backbone, source)
    assert not place.exists()


@pytest.mark.parametrize("what", harmful("x"))
def test_a_reader_that_executes_would_be_found(what, tmp_path):
    pickle.loads(pickle.dumps(harmful(tmp_path / "executed")[what]))
    assert (tmp_path / "executed").exists()


def test_no_module_is_imported(source, tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise AssertionError('imported')\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    planted = types.ModuleType("planted")
    planted.Thing = type("Thing", (), {"__module__": "planted"})
    monkeypatch.setitem(sys.modules, "planted", planted)
    path = save({"model": source.state_dict(), "config": planted.Thing()}, tmp_path / "weights.pth")
    monkeypatch.delitem(sys.modules, "planted")
    load(model(), path)
    assert "planted" not in sys.modules


class Settings(dict):
    """A mapping with attributes, as frameworks have them; `forget` makes it a class of nowhere."""


def beside():
    settings = Settings(lr=0.1)
    settings.frozen = True
    return {
        "args": argparse.Namespace(lr=0.1, data=Path("/data")),
        "numpy": {"best": np.float64(0.5), "epoch": np.int64(3), "curve": np.zeros(3)},
        "omegaconf": OmegaConf.create({"lr": 0.1, "steps": [1, 2], "none": None}),
        "hyper_parameters": settings,
        "defaultdict": defaultdict(list, a=[1]),
        "set": {1, 2},
        "big": 10**40,
        "enum": torch.nn.modules.loss._Loss,
    }


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("what", beside())
def test_other_objects_beside_the_tensors_do_no_harm(what, how, source, tmp_path, monkeypatch):
    backbone = model()
    path = save({what: beside()[what], "state_dict": source.state_dict()}, tmp_path / "weights.ckpt", **FORMATS[how])
    monkeypatch.delattr(sys.modules[__name__], "Settings")  # as if the framework weren't installed
    load(backbone, path)
    assert_equal_weights(backbone, source)


def test_tensors_in_a_mapping_of_a_class_that_is_not_installed(source, tmp_path):
    backbone = model()
    load(backbone, save({"params": Settings(source.state_dict())}, tmp_path / "weights.pth"))
    assert_equal_weights(backbone, source)


@pytest.mark.parametrize("parameters", [True, False])
def test_a_module_that_was_saved_whole_is_read(parameters, tmp_path):
    source, backbone = shuffled(model()), model()
    content = source if parameters else {"model": source.half(), "epoch": 3}
    load(backbone, save(content, tmp_path / "whole.pt"))
    assert_equal_weights(backbone, source if parameters else source.float())


def test_a_mapping_that_holds_itself(source, tmp_path):
    content = {"model": source.state_dict()}
    content["self"] = content
    load(model(), save(content, tmp_path / "weights.pth"))


def torchscript(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))


def plain_pickle(path):
    path.write_bytes(pickle.dumps({"a": torch.zeros(3)}))


def truncated(path):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(300)}, buffer)
    path.write_bytes(buffer.getvalue()[:-400])


UNREADABLE = {
    "text": lambda path: path.write_text("not weights\n" * 10),
    "empty": lambda path: path.touch(),
    "a pickle of something else than torch.save": plain_pickle,
    "truncated": truncated,
    "torchscript": torchscript,
}


@pytest.mark.filterwarnings("ignore::")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_can_not_be_read_is_one_line(kind, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    UNREADABLE[kind](path)
    with pytest.raises(ValueError, match="holds no weights that can be read") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([1, 2, 3], "list"),
        ({"epoch": 3, "loss": 0.5}, "dict"),
        (torch.zeros(3), "Tensor"),
        ({"counts": torch.zeros(3, dtype=torch.int64)}, "dict"),
        (argparse.Namespace(a=1), "argparse.Namespace"),
        (OrderedDict(), "OrderedDict"),
    ],
)
def test_a_file_without_tensors_by_name_says_what_it_holds(content, found, tmp_path):
    with pytest.raises(ValueError, match=f"holds no weights: expected tensors by name; found {found}"):
        read_tensors(Path(save(content, tmp_path / "other.pth")))


def test_torchs_own_reader_is_asked_first(source, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "load_inertly", None)
    assert read_tensors(Path(save(source.state_dict(), tmp_path / "weights.pth")))
