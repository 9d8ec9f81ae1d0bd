"""``hpo logs``: the consoles of a run, of its body or of a step, also while they are being written."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.completion import complete_run, complete_step
from hpo_pipelines.cli.options import found

if TYPE_CHECKING:
    from hpo_pipelines.run import Run
    from hpo_pipelines.runstep import RunStep

POLL_SECONDS = 0.1
BODY = "body"
"""What stands before what the pipeline's body printed."""

_CHUNK = 1 << 20


@click.command()
@click.argument("reference", metavar="RUN[/STEP]", shell_complete=complete_run)
@click.argument("step", required=False, shell_complete=complete_step)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run, or the step, has ended.")
@click.option("--body", is_flag=True, help="Only what the pipeline's body printed.")
@click.option("--attempt", type=click.IntRange(1), help="Only this attempt of the step.")
@click.option("--raw", is_flag=True, help="Every byte as it was written, progress bars frame by frame.")
def logs(*, reference: str, step: str | None, follow: bool, body: bool, attempt: int | None, raw: bool) -> int:
    """Print what RUN printed: its body and its steps, each line after the name of its step.

    With a step (RUN/STEP or RUN STEP) only that one, as it stands. Progress bars are reduced to their last frame.
    """
    from hpo_pipelines.run import Run

    thing = found(reference, step)
    if isinstance(thing, Run):
        if attempt is not None:
            raise click.UsageError("--attempt is of a step: name one, as RUN/STEP.")
        consoles = (lambda: [("", _body_path(thing))]) if body else (lambda: _consoles(thing))
    else:
        if body:
            raise click.UsageError("--body is of a run: leave the step out.")
        consoles = _of_step(thing, attempt)
    ended = (lambda: thing.status.finished) if follow else (lambda: True)
    for name, text in followed(consoles, ended, raw=raw):
        if raw or not name:
            click.echo(text, nl=False)
        else:
            prefix = click.style(f"{name} | ", dim=True)
            click.echo("".join(prefix + line for line in text.splitlines(keepends=True)), nl=False)
    return 0


def _of_step(step: RunStep, attempt: int | None) -> Callable[[], list[tuple[str, Path]]]:
    from hpo_pipelines.errors import TaskNotFound

    if attempt is not None and not any(each.number == attempt for each in step.attempts):
        known = ", ".join(str(each.number) for each in step.attempts) or "none"
        raise TaskNotFound(f"step {step.name} has no attempt {attempt}; it has {known}.")
    return lambda: [("", path) for path in step.console_paths(attempt)]


def _body_path(run: Run) -> Path:
    return run.console_path()


def _consoles(run: Run, prefix: str = "") -> list[tuple[str, Path]]:
    """Every console that ``run`` has by now, each under the name of its step; reused steps printed elsewhere."""
    from hpo_pipelines.run import Run
    from hpo_pipelines.runstep import RunStep
    from hpo_pipelines.task import names_within

    place = run.workspace
    there = [(f"{prefix}{BODY}", _body_path(run))]
    children = place.store.tasks.children(run.id)
    names = names_within(children)
    for task in children:
        if task.component is None:
            there += _consoles(Run(place, task), f"{prefix}{names[task.id]}/")
        elif task.reused_from is None:
            there += [(f"{prefix}{task.name}", path) for path in RunStep(place, task).console_paths(fetched=True)]
    return there


def followed(
    consoles: Callable[[], list[tuple[str, Path]]], ended: Callable[[], bool], *, raw: bool = False
) -> Iterator[tuple[str, str]]:
    """(name, text) of each console from its beginning, whole lines at a time; until ``ended()``, what is added too.

    ``raw`` gives text as it comes, within a line as well, and leaves progress bars as they are.
    """
    readers: dict[Path, _Reader] = {}
    while True:
        last = ended()  # asked before the files are read: nothing written before the end is missed
        for name, path in consoles():
            reader = readers.setdefault(path, _Reader(path, raw=raw))
            for text in reader.read(last=last):
                yield name, text
        if last:
            return
        time.sleep(POLL_SECONDS)


class _Reader:
    """One console file, read on from where the last reading ended."""

    def __init__(self, path: Path, *, raw: bool) -> None:
        self._path = path
        self._raw = raw
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = ""

    def read(self, *, last: bool) -> Iterator[str]:
        from hpo_pipelines.progress import collapsed

        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self._offset)
            while data := file.read(_CHUNK):
                self._offset += len(data)
                text = self._decoder.decode(data)
                if self._raw:
                    yield text
                    continue
                whole, newline, self._begun = (self._begun + text).rpartition("\n")
                if newline:
                    yield collapsed(whole + newline)
        if last and (rest := self._begun + self._decoder.decode(b"", final=True)):
            self._begun = ""
            yield rest if self._raw else collapsed(rest) + "\n"
