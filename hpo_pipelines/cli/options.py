"""Options and arguments that commands share: parameters as text, ``--refresh``, ``--json``, and what a name means."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hpo_pipelines.pipeline import Pipeline
    from hpo_pipelines.run import Run
    from hpo_pipelines.runstep import RunStep
    from hpo_pipelines.task import Task
    from hpo_pipelines.workspace import Workspace

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_WORKSPACE, _JSON = "hpo_pipelines.workspace", "hpo_pipelines.json"
EVERYTHING = "*"
"""What ``--refresh`` without a step stands for."""


# -- JSON


def _reserve(ctx: click.Context, option: click.Parameter, wanted: bool) -> bool:
    if wanted and _JSON not in ctx.meta:
        from hpo_pipelines.cli.streams import reserved_stdout

        ctx.meta[_JSON] = ctx.with_resource(reserved_stdout())
    return wanted


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_reserve, help="Print JSON, and nothing else, on stdout."
)


def print_json(value: Mapping[str, Any]) -> None:
    """``value`` on one line. What JSON has no word for (NaN, infinities, dates) is text."""
    stream = click.get_current_context().meta[_JSON]
    stream.write(json.dumps(_plain(value), default=str, ensure_ascii=False) + "\n")
    stream.flush()


def show_json_error(ctx: click.Context, error: Exception) -> None:
    """Where ``--json`` was asked for, ``{"error": {"type", "message"}}`` on standard output, as in a failed run."""
    if _JSON in ctx.meta:
        click.echo(json.dumps({"error": {"type": type(error).__name__, "message": str(error)}}, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        # As in protobuf's JSON: https://protobuf.dev/programming-guides/json
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


# -- parameters


def parameter_option(text: str) -> Callable[[F], F]:
    """``-P name=value``, as often as wanted; ``text`` says what it does."""
    return click.option("-P", "--param", "params", multiple=True, metavar="NAME=VALUE", help=text)


def assignments(params: Iterable[str]) -> dict[str, str]:
    """``name=value`` texts as a mapping. Raises ParameterError for one without a name or an equals sign, or twice."""
    from hpo_pipelines.errors import ParameterError

    found: dict[str, str] = {}
    for text in params:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ParameterError(f"-P {text!r}: a parameter is given as NAME=VALUE, for instance -P lr=0.03.")
        if name in found:
            raise ParameterError(f"-P {text!r}: {name} is given twice; drop one.")
        found[name] = value
    return found


def typed(pipeline: Pipeline[..., Any], params: Iterable[str]) -> dict[str, Any]:
    """``-P`` texts as the pipeline's typed parameters. Raises ParameterError."""
    return {name: pipeline.parameters.parse_text(name, text) for name, text in assignments(params).items()}


# -- executor and --refresh

executor_option = click.option(
    "--executor",
    type=click.Choice(["inline", "local", "ray"]),
    help="Where steps run; by default local, or ray if a step needs it.",
)
queue_option = click.option(
    "--queue", metavar="QUEUE", help="Have it wait in this queue for an agent, instead of driving it here."
)
refresh_option = click.option(
    "--refresh",
    multiple=True,
    metavar="[STEP]",
    help="Run everything anew instead of reusing it; with STEP only that one. As often as wanted.",
)

reuse_option = click.option("--no-reuse", is_flag=True, help="Reuse no outcome, and leave none for others to reuse.")


class Refreshing(click.Command):
    """A command with one argument and ``--refresh [STEP]``.

    click's own options with an optional value would take the command's argument for it (``hpo rerun --refresh
    churn#3``), so what stands behind ``--refresh`` is settled before click reads it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, settled(args, self._valued()))

    def _valued(self) -> set[str]:
        options = [param for param in self.params if isinstance(param, click.Option)]
        return {name for option in options if not option.is_flag and not option.count for name in option.opts}


def settled(args: list[str], valued: set[str]) -> list[str]:
    """``args`` with every ``--refresh`` as ``--refresh=STEP`` or ``--refresh=*``.

    The word behind it is its step, unless the command would be left without its one argument. ``valued`` are the other
    options that take the word behind them.
    """
    words, ours = 0, []
    index = 0
    while index < len(args) and args[index] != "--":
        text = args[index]
        following = index + 1 < len(args) and not args[index + 1].startswith("-")
        if text == "--refresh":
            ours.append((index, following))
            index += following
        elif text in valued:
            index += 1
        elif not text.startswith("-"):
            words += 1
        index += 1
    words += max(0, len(args) - index - 1)
    argument = None if words else _argument(args, [index + 1 for index, following in ours if following])
    result = list(args)
    for index, following in reversed(ours):
        if following and index + 1 != argument:
            result[index : index + 2] = [f"--refresh={args[index + 1]}"]
        else:
            result[index] = f"--refresh={EVERYTHING}"
    return result


def _argument(args: list[str], places: list[int]) -> int | None:
    """Which of the words at ``places`` is the command's argument: one that no step is called like, else the last."""
    unlike = [place for place in places if any(mark in args[place] for mark in "#:/") or args[place].endswith(".py")]
    return (unlike or places)[-1] if places else None


def refreshed(steps: tuple[str, ...]) -> bool | list[str]:
    """What ``--refresh`` asks for: everything, nothing, or the named steps."""
    return True if EVERYTHING in steps else list(steps)


# -- names


_OF_STORES = ("agent", "cache", "import", "mlflow", "schedule", "submit", "up")
"""Commands that need the store itself, not a server in front of it."""


def workspace() -> Workspace:
    """The workspace of ``$HPO_HOME``, or what ``$HPO_SERVER`` serves; open until the command has ended.

    Raises ConfigError when there can be none, and with a server for a command that needs the store itself.
    """
    context = click.get_current_context()
    root = context.find_root()
    if _WORKSPACE not in root.meta:
        _refuse_server(context)
        root.meta[_WORKSPACE] = root.with_resource(_opened())
    return root.meta[_WORKSPACE]  # type: ignore[no-any-return]


def _refuse_server(context: click.Context) -> None:
    """Raise ConfigError for a command that a server cannot serve, where one is named."""
    from hpo_pipelines.settings import server_of

    while context.parent is not None and context.parent.parent is not None:
        context = context.parent
    if context.info_name in _OF_STORES and (server := server_of(None, None)):
        from hpo_pipelines.remote.store import refusal

        raise refusal(f"`hpo {context.info_name}`", server)


def _opened() -> AbstractContextManager[Workspace]:
    from hpo_pipelines.errors import ConfigError
    from hpo_pipelines.workspace import Workspace

    try:
        return Workspace()
    except OSError as error:
        raise ConfigError(f"runs cannot be kept ({error}); set HPO_HOME to a folder that can be written.") from None


def found(reference: str, step: str | None = None) -> Run | RunStep:
    """The run or step called ``reference``, or the ``step`` of that run. Raises TaskNotFound."""
    return _found(lambda place: place.get(reference if step is None else f"{reference}/{step}"))


def found_run(reference: str) -> Run:
    """The run called ``reference``. Raises TaskNotFound, also for a step."""
    return _found(lambda place: place.run_called(reference))


def recorded_study(reference: str, *, rather: bool = False) -> Task | None:
    """The study that ``reference`` names, if it names one rather than a run; with ``rather`` before any run."""
    from hpo_pipelines.errors import TaskNotFound
    from hpo_pipelines.store.filters import TaskFilter
    from hpo_pipelines.types import Kind

    if rather:
        called = workspace().store.tasks.list(TaskFilter(kind=Kind.STUDY, name=reference), limit=1)
        if called:
            return called[0]
    try:
        task = workspace().store.tasks.find(reference)
    except TaskNotFound:
        return None
    return task if task.kind is Kind.STUDY else None


def _found(look: Callable[[Workspace], T]) -> T:
    from hpo_pipelines.errors import TaskNotFound

    place = workspace()
    try:
        return look(place)
    except TaskNotFound as error:
        if place.runs(limit=1):
            raise
        raise TaskNotFound(f"{error}\n{nothing_yet(place)}") from None


def nothing_yet(place: Workspace) -> str:
    """What to say where there are no runs."""
    return f"No runs yet in {place.place}: hpo run FILE.py:PIPELINE starts one."
