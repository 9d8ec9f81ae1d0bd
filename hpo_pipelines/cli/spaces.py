"""``hpo space``: the gallery of search spaces, and importing those of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_pipelines.cli.options import json_option, print_json

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from search_spaces import Space
    from search_spaces.importers import Imported


@click.group()
def space() -> None:
    """List, show and import search spaces.

    A space of the gallery is used by its name: hpo optimize FILE.py:PIPELINE --space xgboost; in a file:
    fit: !space xgboost.
    """


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from search_spaces.documents import gallery_names

    return [CompletionItem(name) for name in gallery_names() if name.startswith(incomplete)]


@space.command("ls")
@json_option
def ls(*, as_json: bool) -> int:
    """List the spaces of the gallery."""
    from hpo_pipelines.cli.describing import table
    from search_spaces import gallery
    from search_spaces.documents import gallery_entry, gallery_names

    entries = [gallery_entry(name) for name in gallery_names()]
    rows = [
        {"name": entry.name, "parameters": str(_tuned(gallery(entry.name))), "for": entry.title} for entry in entries
    ]
    if as_json:
        for entry, row in zip(entries, rows, strict=True):
            tuned = int(row["parameters"])
            print_json({"name": entry.name, "title": entry.title, "sources": list(entry.sources), "parameters": tuned})
        return 0
    click.echo(table(rows))
    return 0


@space.command()
@click.argument("name", metavar="NAME|FILE", shell_complete=_complete)
@json_option
def show(*, name: str, as_json: bool) -> int:
    """Show a space of the gallery with its comments and sources, or check and show that of a FILE."""
    from search_spaces import dumps, load
    from search_spaces.documents import gallery_names, gallery_text

    found = _ours(lambda: load(name))
    if as_json:
        print_json({"space": found.as_dict(), "combinations": found.grid_size(), "digest": found.digest()})
    else:
        click.echo(gallery_text(name) if name in gallery_names() else dumps(found, "yaml"), nl=False)
    return 0


@space.command("import")
@click.argument("source", metavar="FILE|FILE.py:NAME", type=click.Path())
@click.option(
    "--from", "format", metavar="FORMAT", help="katib, wandb, nni, optuna, ray, hydra; default: by its shape."
)
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write it here: .yaml, .toml or .json.")
def import_(*, source: str, format: str | None, out: str | None) -> int:
    """Turn another tool's search space into ours: a W&B sweep, a Katib experiment, NNI, Hydra's Optuna sweeper, Optuna,
    or Ray Tune.

    What has no counterpart is said on stderr, and stands as comments at the top of what is printed. FILE.py:NAME is a
    dict in Python, as Ray Tune and Optuna have them.
    """
    from search_spaces import dump, dumps

    imported = _ours(lambda: _imported(source, format))
    for warning in imported.warnings:
        click.echo(f"warning: {warning}", err=True)
    if out is None:
        click.echo(_headed(imported, dumps(imported.space, "yaml")), nl=False)
        return 0
    _ours(lambda: dump(imported.space, out))
    if Path(out).suffix.lower() != ".json":
        text = Path(out).read_text("utf-8")
        Path(out).write_text(_headed(imported, text), "utf-8", newline="\n")
    click.echo(f"{len(imported.space)} parameters from {imported.format} in {out}", err=True)
    return 0


def _tuned(found: Space) -> int:
    """How many parameters are drawn."""
    return sum(distribution.size() != 1 for distribution in found.values())


def _headed(imported: Imported, text: str) -> str:
    head = [f"imported from {imported.format}", *imported.warnings]
    return "".join(f"# {line}\n" for line in head) + text


def _imported(source: str, format: str | None) -> Imported:
    from search_spaces.importers import import_file, import_space

    file, colon, name = source.rpartition(":")
    if not (colon and file.endswith(".py")):
        return import_file(source, format)
    return import_space(_attribute(file, name), format)


def _attribute(file: str, name: str) -> Any:
    """The value called ``name`` in the Python file, which is run."""
    import runpy

    from hpo_pipelines.errors import SpaceError

    if not Path(file).is_file():
        raise SpaceError(f"{file}: there is no such file.")
    found = runpy.run_path(file)
    if name not in found:
        names = ", ".join(key for key, value in found.items() if isinstance(value, dict) and not key.startswith("_"))
        raise SpaceError(f"{file}: there is nothing called {name!r}; its mappings: {names or 'none'}.")
    return found[name]


def _ours(read: Any) -> Any:
    """What ``read()`` gives; an error about a space has the exit code of one."""
    from hpo_pipelines.errors import SpaceError
    from search_spaces.errors import SpaceError as PlainSpaceError

    try:
        return read()
    except PlainSpaceError as error:
        raise SpaceError(str(error)) from None
    except OSError as error:
        raise SpaceError(f"{error.filename or ''}: {error.strerror}.") from None
