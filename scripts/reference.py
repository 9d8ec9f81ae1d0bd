"""Writes the reference of the site from the code as it is: API, command line, study files, settings, errors, REST.

scripts/build_docs.py calls :func:`write`; nothing of it is in the repository, so nothing of it can be stale.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
from roles import plain

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by scripts/reference.py from the code; edit that. -->\n\n"
API_PAGES = {
    "authoring": ("Components and pipelines", ("component", "pipeline", "Component", "Pipeline", "report", "result")),
    "options": ("Options of components", ("Resources", "Retry", "Cache", "Environment", "Status")),
    "runs": ("Runs and workspaces", ("Run", "Workspace", "get")),
    "studies": ("Studies", ("optimize", "Study")),
    "spaces": ("Search spaces", ()),
    "errors": ("Error classes", ()),
}
"""Pages of the API: title, and which public names stand there in which order; the rest goes where it comes from."""
REACHED = {
    "runs": ["hpo_pipelines.runstep.RunStep"],
    "studies": ["hpo_pipelines.study.trial.Trial", "hpo_pipelines.study.progress.Progress"],
    "errors": ["hpo_pipelines.errors.outcome_of"],
}
"""What is met by way of public names."""


def write(folder: Path) -> None:
    """Write all pages of the reference below ``folder``."""
    for name, text in pages():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NOTE + text, "utf-8")


def pages() -> Iterator[tuple[str, str]]:
    """Each page's path below the reference, and its text."""
    yield "index.md", INDEX
    yield from api()
    yield from commands()
    yield "study-file.md", study_file()
    yield "settings.md", settings()
    yield "errors.md", errors()
    yield "rest.md", rest()


INDEX = """# Reference

All of it is written from the code when the site is built.

* [API](api/authoring.md): components and pipelines, their [options](api/options.md), [runs](api/runs.md),
  [studies](api/studies.md), [search spaces](api/spaces.md), [error classes](api/errors.md).
* [Command line](cli/index.md): every command with its options.
* [Study file](study-file.md): every key.
* [Settings](settings.md): `config.toml` and environment variables.
* [Errors](errors.md): exit codes, HTTP statuses, and what helps.
* [REST](rest.md): every route and who may ask.
"""


# -- API


def api() -> Iterator[tuple[str, str]]:
    """A page for each group of public names, whose docstrings mkdocstrings puts in."""
    for page, names in sorted_names().items():
        lines = [f"# {API_PAGES[page][0]}", ""]
        for name in names:
            lines += [f"::: {name}", "    options:", "      inherited_members: true", ""]
        yield f"api/{page}.md", "\n".join(lines)


def sorted_names() -> dict[str, list[str]]:
    """Where each public name is defined, by page."""
    import hpo_pipelines
    import search_spaces

    listed = {name: page for page, (_, names) in API_PAGES.items() for name in names}
    found: dict[str, list[str]] = {page: [origin(name) for name in names] for page, (_, names) in API_PAGES.items()}
    for name in hpo_pipelines.__all__:
        where = hpo_pipelines._ORIGIN_OF[name]
        if name not in listed and where != "search_spaces":
            page = {"hpo_pipelines.errors": "errors", "hpo_pipelines.study": "studies"}.get(where, "runs")
            found[page].append(origin(name))
    for page, names in REACHED.items():
        found[page] += names
    found["spaces"] = [f"{getattr(search_spaces, name).__module__}.{name}" for name in search_spaces.__all__]
    return found


def origin(name: str) -> str:
    """The whole name of a public one where it is defined."""
    import hpo_pipelines

    return f"{getattr(hpo_pipelines, name).__module__}.{name}"


# -- command line


def commands() -> Iterator[tuple[str, str]]:
    """A page for each command of ``hpo``, with its subcommands, and one that lists them."""
    from hpo_pipelines.cli.app import COMMANDS, hpo

    context = click.Context(hpo, info_name="hpo")
    listed = [f"| [`hpo {name}`]({name}.md) | {escaped(line)} |" for name, (_, line) in COMMANDS.items()]
    head = ["# Command line", "", plain(inspect.cleandoc(hpo.help or "")), "", "| command | |", "|---|---|"]
    tail = ["", "Exit codes: [errors](../errors.md).", ""]
    yield "cli/index.md", "\n".join(head + listed + tail)
    for name in COMMANDS:
        command = hpo.get_command(context, name)
        assert command is not None
        yield f"cli/{name}.md", "\n".join(described(command, context, name, 1)) + "\n"


def described(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    """The lines of a command's page, or of its part in that of its group."""
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield f"    {command.get_usage(context).removeprefix('Usage: ')}".replace("\n", "\n    ")
    yield ""
    yield from help_text(command)
    rows = [row for param in command.get_params(context) if (row := option_row(param, context))]
    if rows:
        yield from ["", "| option | |", "|---|---|", *rows]
    yield ""
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from described(found, context, inner, level + 1)


def help_text(command: click.Command) -> Iterator[str]:
    """The help of a command: paragraphs, and what click was told not to wrap as it stands."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from ("```text", paragraph.removeprefix("\b\n"), "```", "")
        else:
            yield from (escaped(paragraph), "")


def option_row(param: click.Parameter, context: click.Context) -> str | None:
    if not isinstance(param, click.Option) or param.name == "help":
        return None
    record = param.get_help_record(context)
    if record is None:
        return None
    variable = f" Or `{param.envvar}`." if isinstance(param.envvar, str) else ""
    return f"| `{record[0]}` | {escaped(record[1])}{variable} |"


def escaped(text: str) -> str:
    """``text`` for a cell of a table: one line, and nothing that Markdown takes for its own."""
    for letter in "\\|*_[":
        text = text.replace(letter, f"\\{letter}")
    text = text.replace("<", "&lt;")
    return " ".join(text.split()) if "\n\n" not in text else text


# -- study files


def study_file() -> str:
    from hpo_pipelines.study.file import KEYS, schema

    example = (ROOT / "examples" / "digits" / "study.yaml").read_text("utf-8").rstrip()
    rows = [f"| `{name}` | {escaped(key.rule)} | {escaped(key.about)} |" for name, key in KEYS.items()]
    return "\n".join(
        [
            "# Study file",
            "",
            "A study in YAML, TOML or JSON, for `hpo optimize FILE`, `hpo submit FILE`. The options are those of "
            "[`optimize`](api/studies.md); `pipeline` or `run`, and `space` or `params`, are needed.",
            "",
            f"```yaml\n{example}\n```",
            "",
            "| key | is | |",
            "|---|---|---|",
            *rows,
            "",
            "## JSON Schema",
            "",
            "What `hpo optimize --schema` prints, for editors:",
            "",
            f"```json\n{json.dumps(schema(), indent=2)}\n```",
            "",
        ]
    )


# -- settings


def settings() -> str:
    """Every field of Settings with its variable, and every variable that is none of a field."""
    from hpo_pipelines.settings import _TABLES, _VARIABLES, ELSEWHERE, Settings

    variables = {field: name for name, field in _VARIABLES.items()} | {"home": "HPO_HOME"}
    variables |= {field: name for field, (name, _) in _TABLES.items()}
    about = attribute_docstrings(ROOT / "hpo_pipelines" / "settings.py", "Settings")
    usual = Settings.load("/HOME", {})
    rows = []
    for field in fields(Settings):
        place = f"[tracking] {field.name.removeprefix('tracking_')}" if "tracking_" in field.name else field.name
        place = "" if field.name == "home" else f"[{field.name}.NAME]" if field.name in _TABLES else place
        value = getattr(usual, field.name)
        default = ", ".join(value) if field.name in _TABLES else str(value or "").replace("/HOME", "$HPO_HOME")
        default = "~/.hpo_pipelines" if field.name == "home" else default
        cells = [f"`{cell}`" if cell else "" for cell in (variables[field.name], place, default)]
        rows.append(f"| {' | '.join(cells)} | {plain(about[field.name]).replace('``', '`')} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Defaults, then `$HPO_HOME/config.toml`, then environment variables: what comes later holds. An unknown "
            "name in the file is refused with the nearest one.",
            "",
            "| variable | in config.toml | default | |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Variables that are no settings",
            "",
            "They are read where they are needed, on the machine where that is.",
            "",
            "| variable | what it says; what holds without it |",
            "|---|---|",
            *(f"| `{name}` | {escaped(text)} |" for name, text in ELSEWHERE.items()),
            "",
            "Libraries below have their own: `RAY_ADDRESS`, `RAY_AUTH_TOKEN`, `AWS_…`, `MLFLOW_…`, `UV_…`, `PIP_…`.",
            "",
        ]
    )


def attribute_docstrings(path: Path, name: str) -> dict[str, str]:
    """The text below each annotated attribute of the class ``name`` in ``path``; empty for one that has none."""
    tree = ast.parse(path.read_text("utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found: dict[str, str] = {}
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found[node.target.id] = " ".join(str(text).split())
    return found


# -- errors


def errors() -> str:
    """Every error class: what it means, its cure, exit code and HTTP status, by the one table in errors.py."""
    from hpo_pipelines.errors import HpoPipelinesError, Pruned, Retriggered, outcome_of

    lines = [
        "# Errors",
        "",
        "Every error states the rule, the value that broke it, and the cure. The class gives `hpo` its exit code and "
        "the server its HTTP status; a class without a row of its own has that of the nearest above it. `0` is done, "
        "`2` is wrong usage, `130` Ctrl-C.",
        "",
        "| class | exit code | HTTP status |",
        "|---|--:|--:|",
    ]
    classes = list(tree_of(HpoPipelinesError))
    for depth, cls in classes:
        code, status = outcome_of(cls)
        link = f"[`{cls.__name__}`](#{cls.__name__.lower()})"
        lines.append(f"| {'&emsp;' * depth}{link} | {code} | {status} |")
    for cls in [*(cls for _, cls in classes), Pruned, Retriggered]:
        meaning, cure = meaning_and_cure(cls)
        lines += ["", f"## {cls.__name__}", "", meaning, "", f"**What helps:** {cure[:1].upper()}{cure[1:]}"]
    return "\n".join(lines) + "\n"


def tree_of(cls: type[BaseException], depth: int = 0) -> Iterator[tuple[int, type[BaseException]]]:
    """``cls`` and the public classes below it that are defined beside it, each with its depth."""
    yield depth, cls
    for inner in cls.__subclasses__():
        if inner.__module__ == cls.__module__ and not inner.__name__.startswith("_"):
            yield from tree_of(inner, depth + 1)


def meaning_and_cure(cls: type[BaseException]) -> tuple[str, str]:
    """The two parts of a class's docstring as Markdown. Raises ValueError for one without a cure."""
    meaning, mark, cure = inspect.cleandoc(cls.__doc__ or "").partition("Cure: ")
    if not mark:
        raise ValueError(f"{cls.__name__}: its docstring has to end with 'Cure: …', for the page of errors.")
    return plain(meaning).replace("``", "`").strip(), plain(" ".join(cure.split())).replace("``", "`")


# -- REST


def rest() -> str:
    """Every route of the API with its role and what it says of itself."""
    from fastapi import FastAPI

    from hpo_pipelines.server import api as routes
    from hpo_pipelines.server.roles import rules

    app = FastAPI()
    app.include_router(routes.router)
    roles = {(method, path): role for method, path, role in rules()}
    rows = []
    for path, methods in app.openapi()["paths"].items():
        for method, route in methods.items():
            role = roles[method.upper(), path]
            rows.append(f"| `{method.upper()}` | `{path}` | {role} | {first_sentence(route)} |")
    return "\n".join(
        [
            "# REST",
            "",
            "Of `hpo up`, which describes itself in whole at `/api/v1/openapi.json`. [How it is "
            "used](../pages.md#rest), [who has which role](../access.md#roles), [what errors mean](errors.md).",
            "",
            "| method | path | role | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def first_sentence(route: dict[str, Any]) -> str:
    text = " ".join(str(route.get("description") or route.get("summary") or "").split())
    return escaped(text.partition(". ")[0].rstrip("."))
