"""The reference is made from the code, nothing of it missing; and the site has a place for every page."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

import hpo_pipelines
import search_spaces
from hpo_pipelines import errors
from hpo_pipelines.cli.app import COMMANDS, hpo
from hpo_pipelines.server.roles import rules
from hpo_pipelines.settings import Settings
from hpo_pipelines.study.file import KEYS

ROOT = Path(__file__).resolve().parents[1]
ERRORS = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, BaseException) and cls.__module__ == errors.__name__
]


def script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return script("build_docs")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The generated pages, by their path below the reference."""
    return dict(script("reference").pages())


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_is_there_with_its_cure(pages: dict[str, str], cls: type[BaseException]) -> None:
    part = re.search(rf"^## {cls.__name__}\n(.*?)(?=^## |\Z)", pages["errors.md"], re.MULTILINE | re.DOTALL)
    assert part
    assert re.search(r"^\*\*What helps:\*\* \S.{20,}\.$", part[1], re.MULTILINE), part[1]
    if issubclass(cls, Exception):
        code, status = errors.outcome_of(cls)
        assert re.search(
            rf"\[`{cls.__name__}`\]\(#{cls.__name__.lower()}\) \| {code} \| {status} \|", pages["errors.md"]
        )


def test_an_error_without_a_cure_is_refused() -> None:
    class Silent(errors.HpoPipelinesError):
        """Says nothing."""

    with pytest.raises(ValueError, match=r"Silent: .* 'Cure: …'"):
        script("reference").meaning_and_cure(Silent)


def test_every_setting_is_there(pages: dict[str, str]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\| (\S.*) \|$", pages["settings.md"], re.MULTILINE)
    assert len(rows) == len(Settings.__dataclass_fields__)


def test_every_variable_that_the_code_names_is_there(pages: dict[str, str]) -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "hpo_pipelines").rglob("*.py"))
    named = set(re.findall(r"(?<![\w_])HPO_[A-Z_]*[A-Z]", sources))
    assert {"HPO_HOME", "HPO_TOKEN"} <= named
    assert named <= set(re.findall(r"`(HPO_\w+)`", pages["settings.md"]))


def commands(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, click.Context(inner, info_name=name, parent=context))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_with_its_options(pages: dict[str, str], name: str) -> None:
    root = click.Context(hpo, info_name="hpo")
    command = hpo.get_command(root, name)
    assert command is not None
    page = pages[f"cli/{name}.md"]
    assert f"]({name}.md)" in pages["cli/index.md"]
    for context in commands(command, click.Context(command, info_name=name, parent=root)):
        assert re.search(rf"^#+ {context.command_path}$", page, re.MULTILINE)
        for param in context.command.params:
            if isinstance(param, click.Option) and not param.hidden:
                assert re.search(rf"^\| `[^`]*{param.opts[-1]}\b", page, re.MULTILINE), param.opts


def test_every_key_of_a_study_file_is_there(pages: dict[str, str]) -> None:
    assert re.findall(r"^\| `(\w+)` \|", pages["study-file.md"], re.MULTILINE) == list(KEYS)


def test_every_public_name_is_there(pages: dict[str, str]) -> None:
    asked = {name for page in pages.values() for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)}
    for package in (hpo_pipelines, search_spaces):
        for name in package.__all__:
            value = getattr(package, name)
            assert f"{value.__module__}.{name}" in asked
    for name in asked:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_every_route_is_there_with_its_role(pages: dict[str, str]) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| `(\S+)` \| (\w+) \| \S", pages["rest.md"], re.MULTILINE))
    asked = {
        (method, path, str(role))
        for method, path, role in rules()
        if path.startswith("/api/") and not path.endswith("openapi.json")
    }
    assert rows == asked


def test_the_nav_has_each_page_once_and_new_ones_too(
    build: ModuleType, pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script("reference"), "pages", lambda: iter(pages.items()))
    config = build.stage(tmp_path / "site")
    found = list(build.names_in(config["nav"]))
    assert sorted(found) == sorted(
        path.relative_to(tmp_path / "site/docs").as_posix() for path in tmp_path.rglob("*.md")
    )
    (tmp_path / "site" / "docs" / "fresh.md").write_text("# Fresh\n")
    assert build.configuration(tmp_path / "site" / "docs")["nav"][-1]["More"][-1] == "fresh.md"
    (tmp_path / "site" / "docs" / "keys.md").unlink()
    with pytest.raises(SystemExit, match=r"names keys\.md, and there is no such page"):
        build.configuration(tmp_path / "site" / "docs")


def test_links_out_of_docs_lead_to_copies(build: ModuleType, tmp_path: Path) -> None:
    text = build.relinked(ROOT / "docs" / "machines.md", tmp_path)
    assert "](files/examples/machines/compose.yaml)" in text
    assert (tmp_path / "files" / "examples" / "machines" / "compose.yaml").is_file()
    assert "](keys.md)" in text
    assert "](../decisions/0001-record-decisions.md)" in build.relinked(ROOT / "CONTRIBUTING.md", tmp_path)


@pytest.mark.parametrize(
    ("markup", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', 1),
        ("<img alt=x src=https://cdn.example/x.png>", 1),
        ('<link href="https://fonts.example/a.css" rel="stylesheet">', 1),
        ('<script src="assets/x.js"></script><a href="https://example.org">there</a>', 0),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(build: ModuleType, tmp_path: Path, markup: str, found: int) -> None:
    (tmp_path / "page.html").write_text(markup)
    assert len(list(build.foreign(tmp_path))) == found


def test_the_diagrams_are_those_that_are_drawn() -> None:
    diagrams = script("diagrams")
    for name, diagram in diagrams.DIAGRAMS.items():
        assert (ROOT / "docs" / "images" / f"{name}.svg").read_text("utf-8") == diagrams.drawn(diagram), (
            f"{name}.svg is not what scripts/diagrams.py draws; run it"
        )


GUIDES = [*sorted((ROOT / "docs" / "how-to").glob("*.md")), *sorted((ROOT / "docs" / "operations").glob("*.md"))]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_commands_and_code_of_a_guide_are_ours(page: Path) -> None:
    text = page.read_text("utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for imported in ast.walk(ast.parse(block)):
            if isinstance(imported, ast.ImportFrom) and str(imported.module).startswith("hpo_pipelines"):
                module = importlib.import_module(str(imported.module))
                assert not [alias.name for alias in imported.names if not hasattr(module, alias.name)]
    for line in re.findall(r"^    (?:\w+=\S+ )*hpo ([^#\n]*(?:#\d+[^#\n]*)*)", text, re.MULTILINE):
        assert not unknown(shlex.split(line)), line


def unknown(words: list[str]) -> list[str]:
    """What of a command line after ``hpo`` the parser does not know."""
    command: click.Command | None = hpo
    context = click.Context(hpo, info_name="hpo")
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        command = command.get_command(context, name)
        if command is None:
            return [name]
    assert command is not None
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def test_a_command_that_is_not_ours_is_found() -> None:
    assert unknown(["cache", "gc", "--older", "3d"]) == []
    assert unknown(["cache", "gcc"]) == ["gcc"]
    assert unknown(["clone", "churn#1", "--parameter=lr"]) == ["--parameter=lr"]
