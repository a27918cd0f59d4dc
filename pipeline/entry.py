"""How entry points end: a user's mistake is one line, not a traceback."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

SHOW_TRACEBACK = "PIPELINE_TRACEBACK"


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """`main`, which prints a ValueError, OSError or FloatingPointError as one line and exits with 2.

    With PIPELINE_TRACEBACK=1 in the environment the whole traceback is shown. Ctrl-C exits with 130, as shells expect.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        try:
            main(argv)
        except (ValueError, OSError, FloatingPointError) as error:
            if os.environ.get(SHOW_TRACEBACK):
                raise
            print(f"error: {error} ({SHOW_TRACEBACK}=1 shows where)", file=sys.stderr, flush=True)
            sys.exit(2)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr, flush=True)
            sys.exit(130)

    return wrapped
