"""``hpo compare``: what differs between runs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.completion import complete_run
from hpo_pipelines.cli.options import found_run, json_option, print_json

if TYPE_CHECKING:
    from hpo_pipelines.run import Run

NOTABLE_SECONDS, NOTABLE_SHARE = 0.1, 0.2
"""Times differ when they do by both: by so many seconds, and by this share of the longer."""


@click.command()
@click.argument("references", metavar="RUN RUN…", nargs=-1, required=True, shell_complete=complete_run)
@click.option("--all", "everything", is_flag=True, help="Also what is equal in all of them.")
@click.option("--code/--no-code", default=True, help="Show how the source of components differs, or do not.")
@json_option
def compare(*, references: tuple[str, ...], everything: bool, code: bool, as_json: bool) -> int:
    """Compare runs: parameters, metrics, steps with their times, code; only differences unless --all."""
    from hpo_pipelines.cli.describing import table

    if len(references) < 2:
        raise click.UsageError("compare takes two runs or more.")
    runs = [found_run(reference) for reference in references]
    labels = [run.label for run in runs]
    rows = rows_of(runs, everything=everything)
    changes = code_changes(runs) if code else {}
    if as_json:
        print_json(
            {
                "runs": labels,
                "rows": [{"what": row.what, "values": list(row.values)} for row in rows],
                "code": changes,
            }
        )
        return 0
    if not rows and not changes:
        click.echo("no differences", err=True)
        return 0
    # A run given twice has two columns: blanks make their names differ.
    names = [label + " " * labels[:index].count(label) for index, label in enumerate(labels)]
    if rows:
        click.echo(table([{"": row.what, **dict(zip(names, map(row.text, row.values), strict=True))} for row in rows]))
    for name, diff in changes.items():
        click.echo(f"\n{click.style(name, bold=True)}\n{_coloured(diff)}")
    return 0


@dataclass(frozen=True)
class Row:
    """One fact, by run; None where a run has none. ``text`` writes a value, ``equal`` says whether two are the same."""

    what: str
    values: Sequence[Any]
    text: Callable[[Any], str]
    equal: Callable[[Any, Any], bool]

    @property
    def differs(self) -> bool:
        return any(not self.equal(self.values[0], value) for value in self.values[1:])


def rows_of(runs: Sequence[Run], *, everything: bool) -> list[Row]:
    """What is known of ``runs``, differences only unless ``everything``."""
    facts = [_facts(run) for run in runs]
    names = list(dict.fromkeys(name for found in facts for name in found))
    # In the order of the table, not in that in which the first run happens to have them.
    names.sort(key=lambda name: _ORDER.index(name.partition(" ")[0]))
    ways = [_WAYS.get(name.partition(" ")[0], _PLAIN) for name in names]
    rows = [Row(name, [found.get(name) for found in facts], *way) for name, way in zip(names, ways, strict=True)]
    return [row for row in rows if everything or row.differs]


_ORDER = ("status", "executor", "code", "commit", "param", "metric", "step", "seconds")


def _facts(run: Run) -> dict[str, Any]:
    task = run.task
    steps = run.steps.values()
    found: dict[str, Any] = {
        "status": str(task.status),
        "executor": task.executor,
        "code": (task.snapshot or "")[:12] or None,
        "commit": ((task.git or {}).get("commit") or "")[:12] or None,
    }
    found |= {f"param {name}": value for name, value in task.params.items()}
    found |= {f"metric {name}": value for name, value in run.metrics.items()}
    found |= {f"step {step.name}": "reused" if step.reused_from else str(step.status) for step in steps}
    found |= {f"seconds {step.name}": step.seconds for step in steps if not step.reused_from and step.seconds}
    found["seconds"] = task.seconds
    return found


def _param_text(value: Any) -> str:
    from hpo_pipelines.cli.describing import parameter, short

    return "—" if value is None else short(parameter(value), 40)


def _text(value: Any) -> str:
    return "—" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _seconds_text(value: Any) -> str:
    from hpo_pipelines.cli.describing import duration

    return "—" if value is None else duration(value)


def _same(one: Any, other: Any) -> bool:
    # NaN is not equal to itself, and two runs that report it do not differ.
    return bool(one == other or (one != one and other != other)) and (one is None) == (other is None)


def _about(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return True  # that it did not run says the row of the step
    gap = abs(one - other)
    return gap < NOTABLE_SECONDS or gap < NOTABLE_SHARE * max(one, other)


_PLAIN = (_text, _same)
_WAYS: Mapping[str, tuple[Callable[[Any], str], Callable[[Any, Any], bool]]] = {
    "param": (_param_text, _same),
    "seconds": (_seconds_text, _about),
}


def code_changes(runs: Sequence[Run]) -> dict[str, str]:
    """Component name → unified diff of its source, from the first run's to the first other that has another."""
    first, *others = [(run.label, _sources(run)) for run in runs]
    names = dict.fromkeys(name for _, sources in (first, *others) for name in sources)
    changes: dict[str, str] = {}
    for name in names:
        old = first[1].get(name, "")
        for label, sources in others:
            if sources.get(name, "") != old and name not in changes:
                lines = difflib.unified_diff(
                    old.splitlines(), sources.get(name, "").splitlines(), first[0], label, lineterm=""
                )
                changes[name] = "\n".join(lines)
    return changes


def _sources(run: Run) -> Mapping[str, str]:
    from hpo_pipelines.errors import HpoPipelinesError
    from hpo_pipelines.snapshot import Content

    place, digest = run.workspace, run.task.snapshot
    if digest is None:
        return {}
    try:
        return Content.decode(place.artifacts.read_bytes(place.engine.snapshot_ref(digest))).components
    except HpoPipelinesError as error:
        click.echo(f"the code of {run.label} cannot be compared: {error}", err=True)
        return {}


def _coloured(diff: str) -> str:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    return "\n".join(click.style(line, fg=colours.get(line[:1])) for line in diff.splitlines())
