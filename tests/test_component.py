from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import pytest

from hpo_pipelines import Cache, Component, Environment, Resources, Retry, component
from hpo_pipelines.component import output_form
from hpo_pipelines.errors import DefinitionError, StepError


def test_with_and_without_parentheses() -> None:
    @component
    def bare(x: int) -> int:
        """Double it."""
        return 2 * x

    @component(retry=2, timeout="10min", cache=False)
    def called(x: int) -> int:
        return 2 * x

    assert isinstance(bare, Component)
    assert bare(2) == called(x=2) == 4
    assert called.options.retry == Retry(2)
    assert called.options.timeout == 600.0
    assert called.options.cache == Cache(enabled=False)
    assert bare.options.resources == Resources()


def test_name_docstring_signature_and_hints_survive() -> None:
    @component
    def fit(train: list[int], *, lr: float = 0.1) -> float:
        """Fit a model."""
        return lr

    assert fit.__name__ == fit.name == "fit"
    assert fit.__doc__ == "Fit a model."
    assert str(inspect.signature(fit)) == "(train: 'list[int]', *, lr: 'float' = 0.1) -> 'float'"
    assert inspect.get_annotations(fit.function, eval_str=True)["lr"] is float
    assert inspect.unwrap(fit) is fit.function


def test_over_another_decorator_and_under_one() -> None:
    def shout(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> str:
            return function(*args, **kwargs).upper()

        return inner

    @component
    @shout
    def over(name: str) -> str:
        return f"hello {name}"

    assert over("you") == "HELLO YOU"
    assert list(inspect.signature(over).parameters) == ["name"]
    assert shout(component(over.function))("you") == "HELLO YOU"


def test_star_arguments() -> None:
    @component
    def total(*numbers: int, **named: int) -> int:
        return sum(numbers) + sum(named.values())

    assert total(1, 2, a=3) == 6


def test_map_is_a_list_of_calls() -> None:
    @component
    def add(x: int, y: int = 0, z: int = 0) -> int:
        return x + y + z

    assert add.map([1, 2, 3], y=10) == [11, 12, 13]
    assert add.map([1, 2], [3, 4], z=1) == [5, 7]
    with pytest.raises(ValueError, match="zip"):
        add.map([1, 2], [3])
    with pytest.raises(TypeError, match="at least one"):
        add.map(z=1)


def test_a_method_is_called_with_its_instance() -> None:
    class Model:
        factor = 3

        @component
        def times(self, x: int) -> int:
            return self.factor * x

    assert Model().times(2) == 6


class Pair(NamedTuple):
    left: int
    right: str


class Parts(TypedDict):
    train: list[int]
    test: list[int]


def single(): ...
def nothing() -> None: ...
def text_none() -> "None": ...  # noqa: UP037
def two() -> tuple[int, str]: ...
def several() -> tuple[int, ...]: ...
def empty() -> tuple[()]: ...
def named_pair() -> Pair: ...
def typed_dict() -> Parts: ...
def plain_dict() -> dict[str, int]: ...
def unknown() -> NotImportable: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "outputs", "shape", "names"),
    [
        (single, (), "single", ("value",)),
        (nothing, (), "none", ()),
        (text_none, (), "none", ()),
        (two, (), "tuple", ("0", "1")),
        (several, (), "single", ("value",)),
        (empty, (), "single", ("value",)),
        (named_pair, (), "tuple", ("left", "right")),
        (typed_dict, (), "dict", ("train", "test")),
        (plain_dict, (), "single", ("value",)),
        (unknown, (), "single", ("value",)),
        (single, ("a", "b"), "tuple", ("a", "b")),
        (plain_dict, ("a", "b"), "dict", ("a", "b")),
    ],
)
def test_output_form(function: Any, outputs: tuple[str, ...], shape: str, names: tuple[str, ...]) -> None:
    form = output_form(function, outputs)
    assert (form.shape, form.names) == (shape, names)


@pytest.mark.parametrize(
    ("function", "outputs", "value"),
    [
        (single, (), [1, 2]),
        (nothing, (), None),
        (two, (), (1, "a")),
        (named_pair, (), Pair(1, "a")),
        (typed_dict, (), {"train": [1], "test": []}),
        (single, ("a", "b"), (1, 2)),
    ],
)
def test_split_then_join_gives_the_value_back(function: Any, outputs: tuple[str, ...], value: Any) -> None:
    form = output_form(function, outputs)
    again = form.join(form.split(value, "f"))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    ("function", "outputs", "value", "message"),
    [
        (nothing, (), 3, "annotated to return None and returned int"),
        (two, (), (1, 2, 3), r"declares 2 outputs \(0, 1\) as a tuple and returned tuple of 3"),
        (single, ("a", "b"), 7, "declares 2 outputs .* returned int"),
        (typed_dict, (), {"train": []}, "as a dict and returned dict of 1"),
    ],
)
def test_a_value_of_another_shape_is_refused(function: Any, outputs: tuple[str, ...], value: Any, message: str) -> None:
    with pytest.raises(StepError, match=message):
        output_form(function, outputs).split(value, "f")


def test_what_cannot_be_a_component() -> None:
    async def later() -> None: ...

    def many():
        yield 1

    class Thing:
        pass

    for target, message in (
        (later, "async"),
        (many, "generator"),
        (Thing, "over a function"),
        (3, "over a function"),
        (component(single), "component already"),
    ):
        with pytest.raises(DefinitionError, match=message):
            component(target)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": "train"}, "tuple of names"),
        ({"outputs": {"a": 3}}, "a format's name"),
        ({"outputs": ("a", "a")}, "two outputs have one name"),
        ({"outputs": ("not a name",)}, "Python identifier"),
        ({"resources": {"cpu": 2}}, r"takes a Resources\(...\), not a dict"),
        ({"retry": "twice"}, "takes a Retry"),
        ({"cache": "no"}, "takes a Cache"),
        ({"environment": ["torch"]}, "takes a Environment"),
        ({"environment": {"package": ["torch"]}}, "there is no 'package' in it"),
        ({"environment": {"packages": ["torch=="]}}, "Write a requirement"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        component(**options)(single)


def test_at_most_seven_names_on_the_decorator() -> None:
    names = [p for p in inspect.signature(component).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert len(names) <= 7
    assert Environment() == component(single).options.environment
    by_name = component(environment={"packages": ["torch==2.13"]})(single)
    assert by_name.options.environment == Environment(packages=("torch==2.13",))
