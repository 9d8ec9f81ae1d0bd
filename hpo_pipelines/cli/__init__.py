"""The command line: ``hpo``, also ``python -m hpo_pipelines``."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130
TERMINATED = 143
READER_GONE = 141
"""What a shell says of a process ended by SIGINT, SIGTERM, SIGPIPE: 128 and the signal's number."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``hpo`` with ``arguments`` (default: the process's own) and exit.

    Exit codes: 0 done; 2 wrong usage; 130 interrupted; the rest as in the one table of :mod:`hpo_pipelines.errors`. A
    run or study whose own code failed ends like ``StepFailed``; ``hpo --help`` lists them all.
    """
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        # A name or a metric that the terminal's encoding has no letter for must not end a run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(_code(None if arguments is None else list(arguments)))


def _open_standard_streams() -> None:
    """Let what was closed (``hpo ls >&-``) lead nowhere: the next file opened would else be taken for it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _code(arguments: list[str] | None) -> int:
    import click

    from hpo_pipelines.cli.app import ReaderGone, hpo
    from hpo_pipelines.cli.streams import Terminated

    try:
        code = hpo.main(args=arguments, prog_name="hpo", standalone_mode=False, color=_color())
        sys.stdout.flush()
    except (ReaderGone, BrokenPipeError):  # the reader of our output, `head` say, has seen enough
        _silence()
        return READER_GONE
    except click.exceptions.Abort:
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - sorted out below, and raised again where nobody meant to raise it
        return _refused(error)
    return code if isinstance(code, int) else 0


def _refused(error: Exception) -> int:
    """Show an error that was raised on purpose, or by the user's module; any other is a fault of ours and stays one."""
    import click

    from hpo_pipelines.cli.targets import ImportFailed
    from hpo_pipelines.errors import HpoPipelinesError, outcome_of
    from search_spaces.errors import SpaceError

    if isinstance(error, ImportFailed):
        click.echo(error.text, nl=False, err=True)
        return outcome_of(error.error).exit_code
    if not isinstance(error, HpoPipelinesError | SpaceError) and getattr(error, "errno", None) != errno.ENOSPC:
        raise error
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
    return outcome_of(error).exit_code


def _color() -> bool | None:
    """Whether to colour, against what the stream says of itself (https://no-color.org, https://force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def _silence() -> None:
    """Let Python flush what is left at exit into nothing, instead of complaining about it."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
    os.close(nothing)
