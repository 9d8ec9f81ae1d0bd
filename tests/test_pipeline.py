from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from samples import bodies

from hpo_pipelines import Pipeline, Resources, Workspace, component, pipeline, result
from hpo_pipelines.errors import ConfigError, DefinitionError
from hpo_pipelines.pipeline import components_of


@component
def load(path: str) -> list[int]:
    return [len(path)]


@component(outputs=("a", "b"))
def halves(xs: list[int]):  # type: ignore[no-untyped-def]
    return xs, xs


def test_with_and_without_parentheses_and_erased() -> None:
    @pipeline
    def bare(path: str = "abc") -> int:
        """Count."""
        return sum(load(path))

    @pipeline(project="retention", name="churn")
    def named(path: str = "abc") -> int:
        return sum(load(path))

    assert isinstance(bare, Pipeline)
    assert bare() == named(path="abc") == 3
    assert (bare.project, bare.name, bare.__doc__) == ("default", "bare", "Count.")
    assert (named.project, named.name) == ("retention", "churn")
    assert str(inspect.signature(bare)) == "(path: 'str' = 'abc') -> 'int'"


def test_at_most_seven_names_on_the_decorator() -> None:
    names = [p for p in inspect.signature(pipeline).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert len(names) <= 7


def test_a_parameter_called_like_an_option_of_run_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'executor', which is an option of run"):

        @pipeline
        def wrong(executor: str = "x") -> None: ...


@pytest.mark.parametrize("options", [{"name": "a#1"}, {"name": ""}, {"name": "a/b"}, {"project": "p#"}])
def test_names_that_could_not_be_looked_up(options: dict[str, Any]) -> None:
    def fine() -> None: ...

    with pytest.raises(DefinitionError, match="text without '#'"):
        pipeline(**options)(fine)


def test_a_pipeline_over_a_pipeline_is_refused() -> None:
    def plain() -> None: ...

    with pytest.raises(DefinitionError, match="a pipeline already"):
        pipeline(pipeline(plain))


def test_is_on_an_output_is_refused_with_the_cure() -> None:
    with pytest.raises(DefinitionError, match=r"'x is None' .* write 'result\(x\) is None'"):

        @pipeline
        def asks() -> bool:
            x = load("abc")
            return x is None


def test_is_on_an_unpacked_output_or_on_a_call_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"result\(b\) is not None"):

        @pipeline
        def unpacks() -> bool:
            _, b = halves(load("abc"))
            return b is not None

    with pytest.raises(DefinitionError, match=r"result\(load\('abc'\)\) is None"):

        @pipeline
        def calls() -> bool:
            return load("abc") is None


def test_is_on_a_result_or_on_a_parameter_is_fine() -> None:
    @pipeline
    def fine(limit: int | None = None) -> bool:
        x = load("abc")
        return result(x) is None or limit is None

    assert fine() is True


@component
def _plain(x: int) -> int:
    return x


@component(resources=Resources(queue="gpu"))
def _queued(x: int) -> int:
    return x


class TestComponentsOf:
    def test_those_that_bodies_name_also_indirectly(self) -> None:
        @component
        def local(x: int) -> int:
            return x

        @pipeline
        def inner() -> Any:
            return _queued(1)

        def helper() -> Any:
            return [_plain(number) for number in range(3)]

        @pipeline
        def outer() -> Any:
            return helper(), inner(), local(2), bodies.number

        found = components_of(outer)
        assert {each.name for each in found} >= {"_plain", "_queued", "local", "number"}
        assert {each.name for each in components_of(inner)} == {"_queued"}

    def test_a_body_that_names_itself_and_what_is_not_there_yet(self) -> None:
        @pipeline
        def body() -> Any:
            return body, later

        assert components_of(body) == []
        later = 1


def test_an_undeclared_queue_is_refused_before_anything_is_recorded(home: Path) -> None:
    @pipeline
    def body() -> Any:
        return _queued(1)

    with Workspace() as workspace:
        with pytest.raises(ConfigError, match=r"no queue 'gpu'.*Known: default, services"):
            body.draft(workspace=workspace)
        assert workspace.runs() == []
    (home / "config.toml").write_text("[queues.gpu]\n")
    with Workspace() as workspace:
        assert body.draft(workspace=workspace).status == "draft"
