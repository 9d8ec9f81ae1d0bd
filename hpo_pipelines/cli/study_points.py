"""Options and commands about the trials that a study begins with, is to run next, goes on with, and narrows down to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hpo_pipelines.cli.completion import complete_study
from hpo_pipelines.cli.options import assignments, json_option, print_json

if TYPE_CHECKING:
    from hpo_pipelines.study import Study
    from search_spaces import Space

F = TypeVar("F", bound=Callable[..., Any])


def _fidelity(ctx: click.Context, option: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """``sample_rows=1000..100000,eta=3`` as ``optimize`` takes it."""
    if text is None:
        return None
    whole, *others = (part.strip() for part in text.split(","))
    name, equals, span = (part.strip() for part in whole.partition("="))
    low, dots, high = span.partition("..")
    cure = f"{text!r} is no PARAMETER=MIN..MAX[,eta=N][,brackets=N], such as sample_rows=1000..100000,eta=3."
    if not name or not equals or not dots:
        raise click.BadParameter(cure)
    found: dict[str, Any] = {"param": name, "min": _number(low, cure), "max": _number(high, cure)}
    for each in others:
        key, _, value = (part.strip() for part in each.partition("="))
        if key not in ("eta", "brackets"):
            raise click.BadParameter(cure)
        found[key] = _number(value, cure)
    return found


def _number(text: str, cure: str) -> int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise click.BadParameter(cure)


def _listed(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> list[str] | None:
    return list(given) or None


_OPTIONS = (
    click.option(
        "--fidelity",
        metavar="PARAMETER=MIN..MAX[,eta=N]",
        callback=_fidelity,
        help="Run each trial at rising values of PARAMETER, as long as it is among the best 1/eta (3) of those there.",
    ),
    click.option(
        "--from-study",
        multiple=True,
        metavar="STUDY",
        callback=_listed,
        shell_complete=complete_study,
        help="Begin with the trials of STUDY as finished ones. As often as wanted.",
    ),
    click.option(
        "--from-runs",
        multiple=True,
        metavar="all|tag:NAME|RUN",
        callback=_listed,
        help="Begin with past runs of the pipeline as finished trials. As often as wanted.",
    ),
)


def beginning_options(command: F) -> F:
    """``--fidelity``, ``--from-study`` and ``--from-runs``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _called(name: str) -> Study:
    from hpo_pipelines.cli.studies import study_called

    return study_called(name)


_study_argument = click.argument("name", metavar="STUDY", shell_complete=complete_study)


@click.command()
@_study_argument
@click.option("-P", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A value for each parameter.")
@json_option
def enqueue(*, name: str, params: tuple[str, ...], as_json: bool) -> int:
    """Have STUDY run one more trial next, with these parameters: a value for each that is active."""
    from search_spaces.groups import nested

    found = _called(name)
    point = _point(found.space, params)
    driven = found.enqueue(nested(point))
    _told(found, {"enqueued": point}, "is to run one more trial", driven=driven, as_json=as_json)
    return 0


@click.command("continue")
@_study_argument
@click.argument("trial", type=click.IntRange(0))
@json_option
def continue_(*, name: str, trial: int, as_json: bool) -> int:
    """Have STUDY run a new trial that continues TRIAL, which was pruned, and is not pruned again."""
    found = _called(name)
    driven = found.continue_trial(trial)
    _told(found, {"continues": trial}, f"is to continue trial {trial}", driven=driven, as_json=as_json)
    return 0


@click.command()
@_study_argument
@click.option(
    "--keep", type=float, default=0.2, show_default=True, help="The share of the completed trials that are the best."
)
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write it here: .yaml, .toml or .json.")
def narrow(*, name: str, keep: float, out: str | None) -> int:
    """Print the space of STUDY around its best trials, for a next study."""
    from hpo_pipelines.errors import SpaceError
    from search_spaces import dump, dumps
    from search_spaces.errors import SpaceError as PlainSpaceError

    space = _called(name).narrowed(keep)
    try:
        if out is None:
            click.echo(dumps(space, "yaml"), nl=False)
        else:
            dump(space, Path(out))
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None
    except OSError as error:
        raise click.UsageError(f"{out}: it cannot be written ({error.strerror}).") from None
    return 0


COMMANDS = (enqueue, continue_, narrow)


def _point(space: Space, params: tuple[str, ...]) -> dict[str, Any]:
    """``NAME=VALUE`` as values of ``space``: a text that is a number stays one where that is a choice."""
    from hpo_pipelines.errors import ParameterError
    from search_spaces import Fixed, parse_assignment
    from search_spaces.errors import SpaceError as PlainSpaceError

    assignments(params)  # says what is no NAME=VALUE, or there twice
    found: dict[str, Any] = {}
    for text in params:
        try:
            name, item = parse_assignment(text)
        except PlainSpaceError as error:
            raise ParameterError(str(error)) from None
        if not isinstance(item, Fixed):
            raise ParameterError(f"{text}: a trial has one value of {name}, not a range or choices.")
        written = text.partition("=")[2].strip()
        is_text = name in space and not space[name].contains(item.value) and space[name].contains(written)
        found[name] = written if is_text else item.value
    return found


def _told(study: Study, said: dict[str, Any], text: str, *, driven: bool, as_json: bool) -> None:
    if as_json:
        print_json({"study": study.name, **said, "driven": driven})
        return
    click.echo(f"{study.name} {text}" + ("" if driven else f"; nobody drives it: hpo resume {study.name} does"))
