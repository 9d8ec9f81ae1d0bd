# ruff: noqa: UP007, UP045 (the old spellings of unions have to work too)
from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType, Optional, Union

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.errors import DefinitionError, ParameterError
from hpo_pipelines.parameters import MISSING, Parameters

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Color(enum.Enum):
    RED = "r"
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Perm(enum.Flag):
    R = 1
    W = 2


@dataclass(frozen=True)
class Layer:
    width: int
    rate: float = 0.5


@dataclass(frozen=True)
class Config:
    lr: float
    layers: tuple[Layer, ...] = ()
    color: Color = Color.RED
    since: date | None = None
    inner: Optional[Config] = None
    made: int = field(default=7, init=False)


@dataclass(frozen=True)
class Wide(Config):
    extra: str = "x"


Seconds = NewType("Seconds", float)


def one(annotation: Any, default: Any = MISSING) -> Parameters:
    """The parameters of a function ``f(x: annotation = default)``."""

    def f(x):
        raise AssertionError("parameters never call the function")

    parameter = inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
    f.__signature__ = inspect.Signature([parameter])
    return Parameters.of(f)


def bound(annotation: Any, value: Any) -> Any:
    return one(annotation).bind({"x": value})["x"]


def same(left: Any, right: Any) -> bool:
    """Equality that minds types everywhere, and takes nan for nan."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left.items(), right.items(), strict=True))
    if isinstance(left, set | frozenset):
        return left == right and {(type(item), item) for item in left} == {(type(item), item) for item in right}
    if dataclasses.is_dataclass(left):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in dataclasses.fields(left))
    return left == right


# What each annotation takes.

ACCEPTED = [
    (bool, True, True),
    (bool, np.bool_(False), False),
    (int, 3, 3),
    (int, np.int64(3), 3),
    (int, Level.HIGH, 2),
    (float, 3, 3.0),
    (float, 0.5, 0.5),
    (float, np.float32(0.5), 0.5),
    (float, math.inf, math.inf),
    (str, "None", "None"),
    (str, "", ""),
    (str, Mode.FAST, "fast"),
    (str, np.str_("a"), "a"),
    (None, None, None),
    (Optional[int], None, None),
    (int | None, 3, 3),
    (Union[int, float], 3, 3),
    (int | float, 3.0, 3.0),
    (float | None, 3, 3.0),
    (str | int, "3", "3"),
    (date | str, "2024-01-31", "2024-01-31"),
    (bool | int, True, True),
    (bool | int, 1, 1),
    (list[int] | list[float], [1.0], [1.0]),
    (Literal["a", 1, None], "a", "a"),
    (Literal["a", 1, None], 1, 1),
    (Color, Color.BLUE, Color.BLUE),
    (Color, "BLUE", Color.BLUE),
    (Color, "b", Color.BLUE),
    (Level, 2, Level.HIGH),
    (Level, "HIGH", Level.HIGH),
    (Mode, "slow", Mode.SLOW),
    (Perm, Perm.R | Perm.W, Perm.R | Perm.W),
    (date, "2024-01-31", date(2024, 1, 31)),
    (date, date(2024, 1, 31), date(2024, 1, 31)),
    (datetime, "2024-01-31T10:00:00+02:00", datetime(2024, 1, 31, 10, tzinfo=timezone(timedelta(hours=2)))),
    (time, "10:30", time(10, 30)),
    (Path, "data/x.csv", Path("data/x.csv")),
    (PurePosixPath, "a/b", PurePosixPath("a/b")),
    (list, [1, "a", None], [1, "a", None]),
    (list[float], [1, 2.5], [1.0, 2.5]),
    (list[int], (1, 2), [1, 2]),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[()], [], ()),
    (tuple, (1, 2), (1, 2)),
    (set[int], [1, 2, 2], {1, 2}),
    (frozenset[str], {"a"}, frozenset({"a"})),
    (Sequence[int], (1, 2), (1, 2)),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (dict[int, str], {1: "a"}, {1: "a"}),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (dict, {"a": [1]}, {"a": [1]}),
    (Layer, {"width": 3}, Layer(3)),
    (Layer, Layer(3), Layer(3)),
    (Config, {"lr": 1, "layers": [{"width": 2, "rate": 1}], "color": "BLUE", "since": "2024-01-01"},
     Config(1.0, (Layer(2, 1.0),), Color.BLUE, date(2024, 1, 1))),
    (Config, {"lr": 0.1, "inner": {"lr": 0.2}}, Config(0.1, inner=Config(0.2))),
    (Config, Wide(0.1), Wide(0.1)),
    (Seconds, 3, 3.0),
    (Annotated[float, "how fast"], 3, 3.0),
    (Any, {"a": (1, date(2024, 1, 1))}, {"a": (1, date(2024, 1, 1))}),
    (MISSING, [1, {"a": None}], [1, {"a": None}]),
]  # fmt: skip

REFUSED = [
    (bool, 1),
    (bool, "true"),
    (int, 3.0),
    (int, True),
    (int, "3"),
    (int, np.float64(3)),
    (int, None),
    (float, True),
    (float, "0.1"),
    (float, None),
    (float, 10**400),
    (float, 1j),
    (str, 3),
    (str, None),
    (None, 0),
    (Optional[int], "None"),
    (int | None, 0.5),
    (Literal["a", 1], True),
    (Literal["a", 1], 1.0),
    (Literal["a", 1], "b"),
    (Color, "GREEN"),
    (Color, 1),
    (Level, True),
    (date, "yesterday"),
    (date, datetime(2024, 1, 1)),
    (date, 20240101),
    (Path, 3),
    (list[int], [1, 2.5]),
    (list[int], "12"),
    (list[int], {1}),
    (list[int], {"a": 1}),
    (tuple[int, str], [1]),
    (tuple[int, str], [1, 2]),
    (set[Any], [[]]),
    (dict[str, int], {"a": "b"}),
    (dict[str, int], {1: 1}),
    (dict[str, int], [("a", 1)]),
    (Layer, {"width": "3"}),
    (Layer, {"widht": 3}),
    (Layer, {}),
    (Layer, 3),
    (Any, object()),
    (Any, {"a": Color.RED}),
    (MISSING, Layer(1)),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), ACCEPTED)
def test_a_fitting_value_gets_its_type(annotation, value, expected):
    assert same(bound(annotation, value), expected)


@pytest.mark.parametrize(("annotation", "value"), REFUSED)
def test_a_value_of_another_type_is_refused(annotation, value):
    with pytest.raises(ParameterError, match=r"^f: parameter 'x"):
        bound(annotation, value)


# Messages.


def train(
    lr: float, layers: list[Layer], path: str = "a.csv", mode: Literal["fast", "slow"] = "fast", *, seed: int = 0
):
    raise AssertionError("parameters never call the function")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "fast", "layers": []}, "train: parameter 'lr' takes float; got 'fast' (str)."),
        ({"lrr": 0.1, "layers": []}, "train has no parameter 'lrr'; did you mean 'lr'?"),
        ({"zzz": 1}, "train has no parameter 'zzz'; known: lr, layers, path, mode, seed."),
        ({"path": "b"}, "train needs a value for 'lr', 'layers', without a default."),
        (
            {"lr": 1, "layers": [{"width": 1}, {"width": 1.5}]},
            "train: parameter 'layers[1].width' takes int; got 1.5 (float).",
        ),
        (
            {"lr": 1, "layers": [{"widht": 1}]},
            "train: parameter 'layers[0]' takes Layer; got {'widht': 1} (dict). "
            "Layer has no field 'widht'; did you mean 'width'?",
        ),
        (
            {"lr": 1, "layers": [], "mode": "fats"},
            "train: parameter 'mode' takes one of 'fast', 'slow'; got 'fats' (str). For 'fats': did you mean 'fast'?",
        ),
    ],
)
def test_a_message_names_the_parameter_the_value_the_type_and_the_cure(values, message):
    with pytest.raises(ParameterError) as caught:
        Parameters.of(train).bind(values)
    assert str(caught.value) == message


def test_a_huge_value_does_not_flood_the_message():
    with pytest.raises(ParameterError) as caught:
        bound(int, "x" * 10_000)
    assert len(str(caught.value)) < 400


# Signatures.


def test_defaults_are_filled_in_the_order_of_the_signature():
    values = Parameters.of(train).bind({"seed": 1, "layers": [], "lr": 1})
    assert list(values) == ["lr", "layers", "path", "mode", "seed"]
    assert same(values, {"lr": 1.0, "layers": [], "path": "a.csv", "mode": "fast", "seed": 1})


def test_defaults_get_the_type_of_the_annotation():
    assert same(one(float, 1).bind({}), {"x": 1.0})
    assert same(one(Path, "a").bind({}), {"x": Path("a")})


def test_runs_share_no_mutable_default():
    for annotation in (list, MISSING, Any, dict[str, list]):
        parameters = one(annotation, {"a": []} if annotation == dict[str, list] else [[]])
        first = parameters.bind({})["x"]
        first["a" if isinstance(first, dict) else 0].append(1)
        assert not json.dumps(parameters.bind({})["x"]).count("1")


@pytest.mark.parametrize(
    ("default", "good", "bad"),
    [
        (True, False, 1),
        (1, 2, 2.5),
        (0.1, 2, "2"),
        ("a", "b", 1),
        (Color.RED, "BLUE", "GREEN"),
        (Layer(1), {"width": 2}, {"w": 2}),
        (Path("a"), "b", 1),
        ([1], ["a"], "a"),
        ((1,), ["a"], 1),
        ({"a": 1}, {"b": 2}, 1),
        (date(2024, 1, 1), "2024-01-02", "x"),
    ],
)
def test_without_an_annotation_the_type_of_the_default_counts(default, good, bad):
    parameters = one(MISSING, default)
    assert same(parameters.bind({})["x"], default)
    assert type(parameters.bind({"x": good})["x"]) is type(default)
    with pytest.raises(ParameterError):
        parameters.bind({"x": bad})


def test_a_default_of_none_admits_none():
    parameters = one(str, None)
    assert parameters.bind({}) == {"x": None}
    assert parameters.bind({"x": "None"}) == {"x": "None"}
    with pytest.raises(ParameterError, match=r"takes str \| None"):
        parameters.bind({"x": 1})


def test_annotations_that_cannot_be_resolved_count_as_none():
    def f(a: Unknown, b: Unknown = 3, c: list[Unknown] = ()):
        pass

    parameters = Parameters.of(f)
    assert parameters["a"].annotation is MISSING
    assert parameters.bind({"a": [1]}) == {"a": [1], "b": 3, "c": ()}
    with pytest.raises(ParameterError):
        parameters.bind({"a": 1, "b": 0.5})


def test_annotations_as_text_see_the_closure():
    @dataclass
    class Local:
        x: int = 1

    def f(a: Local):
        return Local

    assert Parameters.of(f).bind({"a": {"x": 2}}) == {"a": Local(2)}


@pytest.mark.parametrize("annotation", [Callable[[int], int], np.ndarray, complex])
def test_unknown_annotations_admit_their_instances_and_what_json_carries(annotation):
    instance = {np.ndarray: np.zeros(2), complex: 1j}.get(annotation, len)
    parameters = one(annotation)
    assert parameters.bind({"x": instance})["x"] is instance


def test_an_instance_that_json_cannot_carry_is_refused_when_it_is_recorded():
    parameters = one(np.ndarray)
    with pytest.raises(ParameterError, match="parameter 'x' takes a value that JSON can carry"):
        parameters.encode(parameters.bind({"x": np.zeros(2)}))


@pytest.mark.parametrize(
    ("annotation", "default", "message"),
    [
        ("Never", MISSING, "no parameter can be annotated"),
        (float, "x", "the default of 'x' must be float; it is 'x'"),
        (list[int], [1, "a"], r"the default of 'x' must be int; it is 'a' \(at \[1\]\)"),
        (MISSING, object(), "must be a value that JSON can carry"),
        (np.ndarray, np.zeros(1), "the default of 'x' cannot be recorded"),
        (MISSING, len, "the default of 'x' cannot be recorded"),
    ],
)
def test_what_no_value_can_satisfy_is_a_definition_error(annotation, default, message):
    from typing import Never

    with pytest.raises(DefinitionError, match=message):
        one(Never if annotation == "Never" else annotation, default)


def test_further_names_need_double_stars():
    def f(a: int, *rest: float, **options: int):
        return a, rest, options

    parameters = Parameters.of(f)
    assert parameters.names == ("a", "rest")
    values = parameters.bind({"b": 2, "a": 1, "rest": [1, 2]})
    assert same(values, {"a": 1, "rest": (1.0, 2.0), "b": 2})
    assert parameters.bind({"a": 1}) == {"a": 1, "rest": ()}
    call = parameters.bound(values)
    assert f(*call.args, **call.kwargs) == (1, (1.0, 2.0), {"b": 2})
    with pytest.raises(ParameterError, match="parameter 'b' takes int"):
        parameters.bind({"a": 1, "b": "x"})
    assert parameters.schema()[-1] == {
        "name": "options", "required": False, "description": "", "type": "int", "extra": True,
    }  # fmt: skip


def test_positional_only_parameters_can_be_called():
    def f(a, /, b, *, c=3):
        return a, b, c

    parameters = Parameters.of(f)
    call = parameters.bound(parameters.bind({"b": 2, "a": 1}))
    assert f(*call.args, **call.kwargs) == (1, 2, 3)


def test_a_decorated_function_has_the_parameters_of_what_it_wraps():
    import functools

    @functools.wraps(train)
    def wrapper(*args, **kwargs):
        raise AssertionError

    assert Parameters.of(wrapper).names == Parameters.of(train).names
    assert Parameters.of(wrapper).check("lr", 1) == 1.0


# Text.

TEXTS = [
    (str, "None", "None"),
    (str, "3", "3"),
    (str, "true", "true"),
    (str | None, "None", "None"),
    (int, "3", 3),
    (float, "3", 3.0),
    (float, "1e-5", 1e-5),
    (float, "nan", math.nan),
    (bool, "true", True),
    (bool, "False", False),
    (Optional[int], "None", None),
    (int | None, "null", None),
    (int | float, "3", 3),
    (int | float, "3.0", 3.0),
    (int | str, "3", 3),
    (int | str, "x", "x"),
    (str | bool, "true", True),
    (Literal["a", 1], "1", 1),
    (Literal["1", 1], "1", "1"),
    (Literal[True, None, "x"], "true", True),
    (Literal[True, None, "x"], "None", None),
    (Literal[Color.RED], "RED", Color.RED),
    (Color, "RED", Color.RED),
    (Color, "r", Color.RED),
    (Level, "2", Level.HIGH),
    (date, "2024-01-31", date(2024, 1, 31)),
    (date | Path, "2024-01-31", date(2024, 1, 31)),
    (date | Path, "x.csv", Path("x.csv")),
    (Path, "true", Path("true")),
    (list[float], "[1, 2.5]", [1.0, 2.5]),
    (tuple[int, str], '[1, "a"]', (1, "a")),
    (dict[str, int], '{"a": 1}', {"a": 1}),
    (Layer, '{"width": 3}', Layer(3)),
    (Layer | None, "null", None),
    (list[date], '["2024-01-31"]', [date(2024, 1, 31)]),
    (MISSING, "3", 3),
    (MISSING, "[1, 2]", [1, 2]),
    (MISSING, "word", "word"),
]


@pytest.mark.parametrize(("annotation", "text", "expected"), TEXTS)
def test_text_is_read_by_the_annotation(annotation, text, expected):
    assert same(one(annotation).parse_text("x", text), expected)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "3.0"),
        (int, "x"),
        (float, ""),
        (bool, "1"),
        (bool, "yes"),
        (int, "None"),
        (Color, "GREEN"),
        (Literal["a", 1], "b"),
        (date, "x"),
        (list[int], "1, 2"),
        (list[int], '["a"]'),
        (Layer, '{"w": 1}'),
        (int | None, "x"),
    ],
)
def test_text_that_does_not_fit_is_refused(annotation, text):
    with pytest.raises(ParameterError, match="parameter 'x"):
        one(annotation).parse_text("x", text)


def test_text_for_an_unknown_parameter_is_refused():
    with pytest.raises(ParameterError, match="did you mean 'x'"):
        one(int).parse_text("xx", "3")


# Recording.

ENCODED = [
    (float, math.nan, {"$float": "nan"}),
    (float, -math.inf, {"$float": "-inf"}),
    (float, 1.0, 1.0),
    (date, date(2024, 1, 31), {"$date": "2024-01-31"}),
    (datetime, datetime(2024, 1, 31, 1, 2), {"$datetime": "2024-01-31T01:02:00"}),
    (time, time(1, 2), {"$time": "01:02:00"}),
    (Path, Path("a/b"), {"$path": "a/b"}),
    (Color, Color.RED, {"$enum": "RED", "of": "Color"}),
    (Perm, Perm.R | Perm.W, {"$flag": 3, "of": "Perm"}),
    (tuple[int, ...], (1, 2), {"$tuple": [1, 2]}),
    (set[str], {"b", "a"}, {"$set": ["a", "b"]}),
    (Layer, Layer(1), {"$dataclass": {"width": 1, "rate": 0.5}, "of": "Layer"}),
    (dict[str, int], {"a": 1}, {"a": 1}),
    (dict[str, int], {"$a": 1}, {"$dict": [["$a", 1]]}),
    (dict[int, int], {1: 2}, {"$dict": [[1, 2]]}),
]


@pytest.mark.parametrize(("annotation", "value", "plain"), ENCODED)
def test_values_are_recorded_as_documented(annotation, value, plain):
    parameters = one(annotation)
    assert json.dumps(parameters.encode({"x": value})["x"]) == json.dumps(plain)
    assert same(parameters.decode({"x": plain})["x"], value)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.dates(), st.times(), st.datetimes(),
    st.sampled_from([Path("a/b"), Path()]),
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.sampled_from(["$a", "$date", "of"]), st.integers()), inner, max_size=3),
        st.sets(st.one_of(st.integers(), st.text()), max_size=3),
        st.frozensets(st.text(), max_size=3),
    ),
    max_leaves=8,
)
layers = st.builds(Layer, st.integers(), st.floats())
configs = st.deferred(
    lambda: st.builds(
        Config,
        st.floats(),
        st.lists(layers, max_size=3).map(tuple),
        st.sampled_from(Color),
        st.none() | st.dates(),
        st.none() | configs,
    )
)
typed = st.one_of(
    anything.map(lambda value: (Any, value)),
    configs.map(lambda value: (Config, value)),
    configs.map(lambda value: (dict[str, Config] | Config | None, value)),
    configs.map(lambda value: (Config, Wide(value.lr, value.layers, extra="y"))),
    st.lists(configs, max_size=2).map(lambda value: (list[Config | str], [*value, "x"])),
    st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.none()).map(
        lambda value: (int | float | bool | str | None, value)
    ),
    st.one_of(st.sampled_from(Color), st.sampled_from(Level), st.sampled_from(Mode), st.text(), st.integers()).map(
        lambda value: (Color | Level | Mode | str | int, value)
    ),
    st.sampled_from(["a", 1, True, None, Color.RED]).map(lambda value: (Literal["a", 1, True, None, Color.RED], value)),
    st.one_of(st.lists(st.floats()), st.lists(st.integers()), st.lists(st.integers()).map(tuple)).map(
        lambda value: (list[int] | list[float] | tuple[int, ...], value)
    ),
    st.dictionaries(st.sampled_from(Color), layers, max_size=2).map(lambda value: (dict[Color, Layer], value)),
    st.sets(st.sampled_from(Level)).map(lambda value: (set[Level], value)),
)


@given(typed)
def test_what_was_recorded_is_read_back_with_every_type(case):
    annotation, value = case
    parameters = one(annotation)
    values = parameters.bind({"x": value})
    assert same(values["x"], value)
    stored = json.loads(json.dumps(parameters.encode(values)))
    assert same(parameters.decode(stored), values)
    assert same(parameters.bind(parameters.decode(stored)), values)


@given(anything)
def test_reading_is_idempotent(value):
    parameters = one(Any)
    plain = parameters.encode(parameters.bind({"x": value}))
    assert parameters.encode(parameters.decode(plain)) == plain


def test_plain_json_that_a_person_wrote_is_read_too():
    parameters = one(Config)
    plain = {"lr": 1, "layers": [{"width": 2}], "color": "BLUE", "since": "2024-01-31"}
    expected = Config(1.0, (Layer(2),), Color.BLUE, date(2024, 1, 31))
    assert same(parameters.decode({"x": plain})["x"], expected)


def test_recorded_values_of_a_changed_class_are_refused_with_the_reason():
    with pytest.raises(ParameterError, match="Layer has no field 'depth'"):
        one(Layer).decode({"x": {"$dataclass": {"width": 1, "depth": 2}, "of": "Layer"}})
    with pytest.raises(ParameterError, match="GREEN"):
        one(Color).decode({"x": {"$enum": "GREEN", "of": "Color"}})
    with pytest.raises(ParameterError, match="annotation of their class"):
        one(Any).decode({"x": {"$enum": "RED", "of": "Color"}})
    with pytest.raises(ParameterError, match=r"parameter 'x' takes what '\$date' stands for"):
        one(Any).decode({"x": {"$date": "soon"}})


def test_a_part_of_the_values_can_be_recorded():
    parameters = Parameters.of(train)
    assert parameters.encode({"lr": 0.1}) == {"lr": 0.1}
    assert parameters.decode({"seed": 3}) == {"seed": 3}
    with pytest.raises(ParameterError, match="did you mean 'seed'"):
        parameters.decode({"sed": 3})


def test_values_of_a_module_loaded_again_become_those_of_its_new_classes(tmp_path, monkeypatch):
    (tmp_path / "reloaded_params.py").write_text(
        "import enum\nfrom dataclasses import dataclass\n"
        "class Kind(enum.Enum):\n    A = 1\n"
        "@dataclass\nclass Box:\n    kind: Kind = Kind.A\n"
        "def f(box: Box, kind: Kind):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    old = importlib.import_module("reloaded_params")
    monkeypatch.delitem(sys.modules, "reloaded_params")
    new = importlib.import_module("reloaded_params")
    monkeypatch.delitem(sys.modules, "reloaded_params")
    assert old.Box is not new.Box
    sys.modules["reloaded_params"] = new
    values = Parameters.of(new.f).bind({"box": old.Box(), "kind": old.Kind.A})
    assert type(values["box"]) is new.Box
    assert values["box"].kind is new.Kind.A
    assert values["kind"] is new.Kind.A
    recorded = Parameters.of(old.f).encode({"box": old.Box(), "kind": old.Kind.A})
    assert same(Parameters.of(new.f).decode(recorded), values)


# Pages.


def test_the_schema_says_what_a_page_needs():
    def f(
        lr: Annotated[float, "step size"] = 0.1,
        color: Color = Color.RED,
        mode: Literal["a", "b"] = "a",
        layer: Layer | None = None,
        when: date = date(2024, 1, 1),
        *,
        names: list[str],
    ):
        pass

    schema = Parameters.of(f).schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema[0] == {"name": "lr", "required": False, "description": "step size", "default": 0.1, "type": "float"}
    assert schema[1]["choices"] == ["RED", "BLUE"]
    assert schema[1]["default"] == {"$enum": "RED", "of": "Color"}
    assert schema[2]["choices"] == ["a", "b"]
    assert schema[3]["default"] is None
    assert schema[3]["any_of"][0]["fields"]["width"] == {"type": "int"}
    assert schema[4]["default"] == {"$date": "2024-01-01"}
    assert schema[5] == {
        "name": "names", "required": True, "description": "", "type": "list[str]", "items": {"type": "str"},
    }  # fmt: skip


def test_it_is_a_mapping_of_parameters():
    parameters = Parameters.of(train)
    assert list(parameters) == ["lr", "layers", "path", "mode", "seed"]
    assert len(parameters) == 5
    assert parameters["lr"].required
    assert parameters["lr"].annotation is float
    assert parameters["seed"].default == 0
    assert parameters["seed"].kind is inspect.Parameter.KEYWORD_ONLY
    assert "lr" in repr(parameters)
