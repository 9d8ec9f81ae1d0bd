"""Shows a run while it runs: its tree on a terminal, else a line for each change of status.

Also for Python code that would like to see it, since ``pipeline.run()`` shows nothing::

    draft = churn.draft(lr=0.1)
    with shown(draft):
        run = draft.run()
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

import click

from hpo_pipelines.cli.describing import COLOURS, duration, number, short, styled
from hpo_pipelines.cli.tree import Line, Node, lines, read, summary, widths
from hpo_pipelines.progress import is_terminal, printing_above
from hpo_pipelines.store.chain import RETRIGGERED, following
from hpo_pipelines.types import Status

if TYPE_CHECKING:
    from rich.text import Text

    from hpo_pipelines.run import Run
    from hpo_pipelines.task import Task

LOOK_SECONDS, LONGEST_SECONDS = 0.2, 5.0
"""How often the store is looked at: at most and at least."""

SHARE = 0.02
"""Of one CPU, the most that looking and drawing take: the more a look costs, the longer until the next."""

WAIT_SECONDS = 1.0
"""Without a terminal, a step that waits this long says why."""


@contextlib.contextmanager
def shown(run: Run, *, plain: bool | None = None) -> Iterator[None]:
    """Show ``run`` on standard error while the block runs, and how it ended.

    ``plain`` lines instead of a tree are the default where standard error is no terminal, and for inline runs, in which
    a debugger may want the terminal. What goes wrong in showing never reaches the run.
    """
    if plain is None:
        executor = run.task.executor or run.workspace.settings.executor
        plain = executor == "inline" or not is_terminal(sys.stderr)
    display = PlainDisplay(sys.stderr) if plain else TreeDisplay(sys.stderr)
    follower = _Follower(run, display)
    follower.begin()
    with display.opened():
        follower.start()
        try:
            yield
        finally:
            follower.stop()


class Display(ABC):
    """Where a tree is shown as it changes."""

    def begin(self, tree: Node) -> None:
        """``tree`` is what there is before anything happens: of a run that is resumed, not little."""
        return

    @abstractmethod
    def show(self, tree: Node, now: float) -> None:
        """``tree`` stands like this at ``now``, in seconds since the epoch."""

    def leave(self, tree: Node, now: float) -> None:
        """``tree`` is over for good, and another takes its place: the next attempt of the run."""
        self.show(tree, now)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Whatever has to hold while it is shown."""
        yield


class _Follower:
    """Looks at the store in a thread of its own, and shows what has changed."""

    def __init__(self, run: Run, display: Display) -> None:
        self._store = run.workspace.store
        self._run = run.id
        self._display = display
        self._over = threading.Event()
        self._seen = -1
        self._shown_at = 0.0
        self._failed = False
        self._thread = threading.Thread(target=self._follow, name="hpo-live", daemon=True)

    def begin(self) -> None:
        self._guarded(lambda: self._display.begin(read(self._store, self._run)))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show how the run ended."""
        self._over.set()
        self._thread.join()
        self._seen = -1
        self._try()

    def _follow(self) -> None:
        pause = 0.0
        while not self._failed and not self._over.wait(pause):
            began = time.thread_time()
            self._try()
            pause = min(max(LOOK_SECONDS, (time.thread_time() - began) / SHARE), LONGEST_SECONDS)

    def _try(self) -> None:
        self._guarded(self._look)

    def _guarded(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - the run matters, its picture does not
            if not self._failed:
                click.echo(f"the run goes on, but cannot be shown: {type(error).__name__}: {error}", err=True)
            self._failed = True

    def _look(self) -> None:
        last, now = self._store.events.last(), time.time()
        # What runs is drawn again every second, for its time.
        if last == self._seen and now - self._shown_at < 1.0:
            return
        self._seen, self._shown_at = last, now
        tree = read(self._store, self._run)
        while (after := following(self._store.tasks, tree.task)) is not None:
            self._display.leave(tree, now)
            self._run = after.id
            tree = read(self._store, self._run)
        self._display.show(tree, now)


class PlainDisplay(Display):
    """A line for each change of status."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: dict[str, tuple[object, ...]] = {}

    def begin(self, tree: Node) -> None:
        for _, node in _named(tree.task.label, tree, with_own=True):
            if node.task.status.finished:
                self._said[node.task.id] = _state(node.task)

    def show(self, tree: Node, now: float) -> None:
        for name, node in _named(tree.task.label, tree, with_own=tree.task.status is Status.RUNNING):
            self._say(name, node, now)
        if tree.task.status.finished:
            self._say(tree.task.label, tree, now)

    def _say(self, name: str, node: Node, now: float) -> None:
        task = node.task
        state = _state(task)
        # Only why a waiting step waits is news beside its status, and only once it has waited a while.
        waits = task.status is Status.QUEUED and now - task.created_at < WAIT_SECONDS
        if waits or task.status is Status.DRAFT or self._said.get(task.id) == state:
            return
        self._said[task.id] = state
        click.echo("  ".join(filter(None, [name, styled(task.status), *_facts(node)])), file=self._stream)


def _state(task: Task) -> tuple[object, ...]:
    """What is to be told of a task, once; a resumed run ends as often as it is resumed."""
    return task.status, task.reason if task.status is Status.QUEUED else None, task.finished_at


def _named(own: str, tree: Node, *, with_own: bool) -> Iterator[tuple[str, Node]]:
    """What is to be told of, each with its full name, in the order in which it happened; ``tree`` is called ``own``."""
    if with_own:
        yield own, tree
    for name, node in sorted(tree.named(), key=lambda named: named[1].task.finished_at or float("inf")):
        if node.task.component is None:
            yield from _named(f"{own}/{name}", node, with_own=True)
        else:
            yield f"{own}/{name}", node


def _facts(node: Node) -> list[str]:
    task = node.task
    ran = task.status in (Status.COMPLETED, Status.FAILED) and task.reused_from is None
    facts = [duration(task.seconds)] if ran else []
    if task.status.finished:
        facts += [", ".join(f"{name}={number(value)}" for name, value in node.metrics.items())]
        facts += [summary(node)] if task.component is None else []
    says = task.status not in (Status.COMPLETED, Status.RUNNING) or str(task.reason).startswith(RETRIGGERED)
    if task.reason and (task.reused_from or says):
        facts.append(short(task.reason, 160))
    return facts


class TreeDisplay(Display):
    """The tree, drawn over and over on a terminal, and left standing at the end."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False, transient=False
        )

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        hook = sys.breakpointhook

        def stopping(*args: Any, **kwargs: Any) -> Any:
            self._live.stop()  # the debugger gets the terminal, for good
            return hook(*args, **kwargs)

        sys.breakpointhook = stopping
        try:
            with printing_above(self._console), self._live:
                yield
        finally:
            sys.breakpointhook = hook

    def leave(self, tree: Node, now: float) -> None:
        from rich.text import Text

        self._live.update(Text(""))  # what is drawn over and over stands below
        self._console.print(drawn(lines(tree, now, None), short(f"{summary(tree)}; {tree.task.reason}", 200)))

    def show(self, tree: Node, now: float) -> None:
        over = tree.task.status.finished
        height = None if over else self._console.height - 1
        laid = lines(tree, now, height)
        note = summary(tree) if over else ""
        if self._live.is_started:
            self._live.update(drawn(laid, note), refresh=True)
        elif over:
            self._console.print(drawn(laid, note))


def drawn(laid: list[Line], note: str = "") -> Text:
    """The lines of a tree in colour, the run's own followed by ``note``; each is cut where the terminal ends."""
    from rich.text import Text

    name_width, took_width = widths(laid)
    text = Text(no_wrap=True, overflow="ellipsis")
    for index, line in enumerate(laid):
        colour = COLOURS[line.status]
        text.append(line.guide, "bright_black")
        text.append(f"{line.mark} ", colour)
        text.append(line.name.ljust(name_width - len(line.guide) - 2), "bold" if index == 0 else "")
        text.append(f"  {line.took:>{took_width}}  ", "cyan")
        if index == 0:
            text.append(line.status, colour)
            text.append(f"  {note}" if note else "")
        text.append(("  " if index == 0 and line.note else "") + line.note, "red" if line.status == "failed" else "dim")
        text.append("\n" if index < len(laid) - 1 else "")
    return text
