"""Errors of libraries in one line."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """Returns an exception's kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
