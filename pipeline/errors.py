"""How commands end: a user's mistake is one line, not a traceback."""

from __future__ import annotations

import functools
import os
import select
import sys
from collections.abc import Callable

SHOW_TRACEBACK = "PIPELINE_TRACEBACK"
MISTAKE, INTERRUPTED, NO_READER = 2, 130, 141  # exit statuses; the last two are what shells expect


def one_line_errors(main: Callable[..., None]) -> Callable[..., None]:
    """Returns `main`, which prints a ValueError, OSError or FloatingPointError as one line and exits with 2.

    With PIPELINE_TRACEBACK=1 in the environment the whole traceback is shown. Ctrl-C exits with 130. Where the output
    has no reader any more (`| head`), it ends silently, with 141.
    """

    @functools.wraps(main)
    def wrapped(argv: list[str] | None = None) -> None:
        try:
            main(argv)
            sys.stdout.flush()
        except (ValueError, OSError, FloatingPointError) as error:
            if isinstance(error, BrokenPipeError) and _output_is_closed():
                sys.exit(NO_READER)
            if os.environ.get(SHOW_TRACEBACK):
                raise
            print(f"error: {error} ({SHOW_TRACEBACK}=1 shows where)", file=sys.stderr, flush=True)
            sys.exit(MISTAKE)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr, flush=True)
            sys.exit(INTERRUPTED)

    return wrapped


def _output_is_closed() -> bool:
    """Returns whether our own output has no reader any more; if so, what is left of it is discarded."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by something that isn't a file
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output)
    os.close(nowhere)
    return True
