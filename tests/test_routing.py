from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.routing import apply_by_key, rows_of, runs_of


class _Times(nn.Module):
    """Multiplies and notes how many rows came in each call."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.calls: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(images))
        return images * self.factor


def test_runs() -> None:
    assert runs_of("aabcc") == [("a", 2), ("b", 1), ("c", 2)]
    assert runs_of([]) == []


def test_rows_of_one_run_are_a_view() -> None:
    tensor = torch.arange(6.0)[:, None]
    runs = runs_of("aabbbc")
    assert rows_of(tensor, runs, "b").data_ptr() == tensor[2:].data_ptr()
    assert rows_of(tensor, runs, "b").flatten().tolist() == [2, 3, 4]


def test_rows_of_several_runs_keep_their_order() -> None:
    assert rows_of(torch.arange(5), runs_of("abbab"), "b").tolist() == [1, 2, 4]


@pytest.mark.parametrize("keys", ["", "aa"])
def test_rows_of_an_absent_key_are_none(keys: str) -> None:
    assert rows_of(torch.zeros(len(keys), 3), runs_of(keys), "x").shape == (0, 3)


@pytest.mark.parametrize("keys", ["aaabb", "ababa", "bbbbb", "abbac", "c"])
def test_each_row_goes_through_its_module_once(keys: str) -> None:
    modules = nn.ModuleDict({"a": _Times(2.0), "b": _Times(3.0), "c": _Times(5.0)})
    images = torch.arange(1.0, len(keys) + 1)[:, None]
    expected = [row * {"a": 2.0, "b": 3.0, "c": 5.0}[key] for row, key in enumerate(keys, start=1)]
    assert apply_by_key(images, runs_of(keys), modules).flatten().tolist() == expected
    for key, module in modules.items():
        assert module.calls == ([keys.count(key)] if key in keys else [])


@pytest.mark.parametrize("keys", ["aabb", "abab"])
def test_memory_format_is_kept(keys: str) -> None:
    images = torch.randn(4, 3, 6, 5).to(memory_format=torch.channels_last)
    result = apply_by_key(images, runs_of(keys), nn.ModuleDict({"a": nn.Identity(), "b": nn.Identity()}))
    assert torch.equal(result, images)
    assert result.is_contiguous(memory_format=torch.channels_last)
