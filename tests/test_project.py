"""Rules about the tree itself: what may stand in it, how large a module grows, what an import costs."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hpo_pipelines

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("hpo_pipelines", "search_spaces")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = ("ray", "mlflow", "optuna", "pandas", "numpy", "sqlalchemy", "alembic", "pyarrow", "rich")

# Each with a class of one letter, so that this file does not hold what it forbids.
FOREIGN_TEXT = {
    "a package index": re.compile(r"py[p]i[.]org|python[h]osted[.]org|np[m]js[.](?:org|com)"),
    "an index option": re.compile(r"--(?:extra-)?[i]ndex-url|--[f]ind-links"),
    "a path of one machine": re.compile(r"/[r]oot/|/[w]ork/|/[h]ome/\w+/|/[U]sers/\w+/"),
}
SURFACE = {
    "Cache",
    "Environment",
    "Resources",
    "Retry",
    "Study",
    "Workspace",
    "component",
    "get",
    "optimize",
    "pipeline",
    "report",
    "result",
}


def tree() -> list[Path]:
    """Every file that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout: nothing says which files belong to it")
@pytest.mark.parametrize("what", FOREIGN_TEXT)
def test_no_file_holds(what: str) -> None:
    found = []
    for path in tree():
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if FOREIGN_TEXT[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, f"{what}:\n" + "\n".join(found)


def test_the_patterns_find_what_they_forbid() -> None:
    assert FOREIGN_TEXT["a package index"].search("https://{}.org/simple".format("pypi"))
    assert FOREIGN_TEXT["an index option"].search("--{}-url x".format("index"))
    assert FOREIGN_TEXT["a path of one machine"].search("/{}/ada/data.csv".format("home"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_enough_to_read(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 450


def test_functions_are_short_and_take_few_arguments() -> None:
    lengths: dict[str, int] = {}
    crowded = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                assert node.end_lineno is not None
                lengths[where] = node.end_lineno - node.body[0].lineno + 1
                positional = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
                if len([name for name in positional if name not in ("self", "cls")]) > 6:
                    crowded.append(where)
    assert not crowded, "more than 6 parameters by position; make options keyword-only:\n" + "\n".join(crowded)
    long = [f"{where}: {length} lines" for where, length in lengths.items() if length >= 40]
    assert len(long) <= 0.05 * len(lengths), "more than 5 % of the functions reach 40 lines:\n" + "\n".join(long)


def test_public_names_are_exactly_those_in_all() -> None:
    named = hpo_pipelines.__all__
    assert sorted(set(named)) == sorted(named)
    assert set(named) >= SURFACE
    # `component` and `pipeline` are modules too: importing one must not put it in the function's place.
    assert not [name for name in named if isinstance(getattr(hpo_pipelines, name), ModuleType)]
    ours = {
        name
        for name in dir(hpo_pipelines)
        if not name.startswith("_") and getattr(getattr(hpo_pipelines, name), "__module__", "").startswith(PACKAGES)
    }
    assert set(named) == ours


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, hpo_pipelines; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.split() == []


def makefile_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", ".ci/run"])
def test_every_make_command_exists(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    commands = set(re.findall(r"\bmake (?:--[a-z-]+ )*([a-z][a-z-]*)", text))
    assert commands, f"{name} names no make command"
    assert commands <= makefile_targets()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/decisions/0001-record-decisions.md"])
def test_every_relative_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8"))
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not lost


def test_constraints_pin_everything_that_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    asked = [
        *project["project"]["dependencies"],
        *(line for extra in ("docs", "examples", "postgresql", "s3") for line in extras[extra]),
        *project["dependency-groups"]["dev"],
    ]
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned: dict[str, list[Requirement]] = {}
    for pin in map(Requirement, lines):
        pinned.setdefault(canonicalize_name(pin.name), []).append(pin)
    for wanted in map(Requirement, asked):
        pins = pinned.get(canonicalize_name(wanted.name), [])
        assert pins, f"{wanted.name} is not in constraints.txt; run `make constraints`"
        for pin in pins:
            (version,) = (specifier.version for specifier in pin.specifier)
            assert wanted.specifier.contains(version), f"{pin} against {wanted}; run `make constraints`"


def test_shell_scripts_parse_and_can_be_executed() -> None:
    scripts = [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").glob("*.sh"))]
    assert len(scripts) >= 4
    for script in scripts:
        assert os.access(script, os.X_OK), script
        assert "set -euo pipefail" in script.read_text("utf-8"), script
        subprocess.run(["bash", "-n", str(script)], check=True)


def count_tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("count_tests", ROOT / "scripts" / "count_tests.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("reports", "line", "code"),
    [
        ([(5, 0, 0, 0), (7, 0, 0, 0)], "12 passed, 0 failed", 0),
        ([(5, 1, 1, 1), (7, 0, 0, 2)], "7 passed, 2 failed, 3 skipped", 1),
    ],
)
def test_counts_of_both_suites_are_added_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reports: list[tuple[int, ...]], line: str, code: int
) -> None:
    paths = []
    for number, report in enumerate(reports):
        paths.append(tmp_path / f"{number}.xml")
        paths[-1].write_text(REPORT.format(*report))
    assert count_tests().main([str(path) for path in paths]) == code
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_a_suite_without_a_report_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good.xml"
    good.write_text(REPORT.format(3, 0, 0, 0))
    assert count_tests().main([str(good), str(tmp_path / "absent.xml")]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 0 failed"


@pytest.mark.parametrize(
    ("again", "line", "code"),
    [
        ((3, 0, 0, 0), "10 passed, 0 failed", 0),
        ((3, 1, 0, 1), "8 passed, 1 failed, 1 skipped", 1),
        ((2, 0, 0, 0), "9 passed, 1 failed", 1),
        ((0, 0, 0, 0), "7 passed, 3 failed", 1),
    ],
)
def test_a_second_try_counts_for_the_tests_that_had_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], again: tuple[int, ...], line: str, code: int
) -> None:
    suite = tmp_path / "test.xml"
    suite.write_text(REPORT.format(10, 2, 1, 0))
    suite.with_suffix(".again.xml").write_text(REPORT.format(*again))
    assert count_tests().main([str(suite)]) == code
    assert capsys.readouterr().out.splitlines()[-1] == line
