from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_spaces import Categorical, Fixed, Float, Int, Space, SpaceError, dump, dumps, load, loads
from search_spaces.documents import Format

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared

FORMATS: list[Format] = ["yaml", "toml", "json"]
CHURN = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "encoder": Categorical(["onehot", "hash"]),
        "bits": Int(8, 16, when={"encoder": "hash"}),
        "dropout": Float(0, 0.5),
        "seed": 42,
    }
)
TEXTS: dict[str, str] = {
    "churn.yaml": """\
lr: {low: 1e-5, high: 1e-1, log: true}
encoder: [onehot, hash]
bits:
  low: 8
  high: 16
  when: {encoder: hash}
dropout: uniform(0, 0.5)
seed: 42
""",
    "churn.YML": """\
params:
  seed: {value: 42}
  lr: loguniform(1e-5, 1e-1)
  encoder: {choices: [onehot, hash]}
  bits: {type: int, low: 8, high: 16, when: {encoder: [hash]}}
  dropout: {low: 0, high: 0.5}
""",
    "churn.toml": """\
encoder = ["onehot", "hash"]
dropout = "uniform(0, 0.5)"
seed = 42
[lr]
low = 1e-5
high = 1e-1
log = true
[bits]
low = 8
high = 16
when.encoder = "hash"
""",
    "churn.json": """\
{"params": {
    "lr": {"low": 1e-5, "high": 1e-1, "log": true},
    "encoder": ["onehot", "hash"],
    "bits": {"low": 8, "high": 16, "when": {"encoder": "hash"}},
    "dropout": {"low": 0, "high": 0.5},
    "seed": 42
}}
""",
}


@pytest.mark.parametrize("name", TEXTS)
def test_one_space_from_any_kind_of_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(TEXTS[name], encoding="utf-8")
    space = load(path)
    assert space == CHURN
    assert space.digest() == CHURN.digest()
    assert load(str(path)) == space


def holds_null(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(holds_null, value.values() if isinstance(value, dict) else value))
    return value is None


@pytest.mark.parametrize("format", FORMATS)
@settings(PATIENT, max_examples=25)
@given(space=st.from_type(Space))
def test_round_trip(format: Format, space: Space) -> None:
    if format == "toml" and holds_null(space.as_dict()):
        return  # refused, see test_toml_has_no_null
    text = dumps(space, format)
    twin = loads(text, format)
    assert twin == space
    assert list(twin) == list(space)
    assert twin.digest() == space.digest()


@pytest.mark.parametrize("format", FORMATS)
@settings(PATIENT, max_examples=30)
@given(space=st.from_type(Space))
def test_every_parameter_knows_its_line(format: Format, space: Space) -> None:
    if format == "toml" and holds_null(space.as_dict()):
        return
    text = dumps(space, format)
    twin = loads(text, format, name="x")
    if not twin:
        return
    with pytest.raises(SpaceError) as caught:
        twin.check(())
    assert caught.value.path[-1] == next(iter(twin))
    lead = {"yaml": 0, "toml": 0, "json": 1}[format] + ("params" in twin and format != "json")
    assert caught.value.line == lead + 1


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "a.toml", "a.json"])
def test_dump_and_load(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    dump(CHURN, path)
    assert load(path) == CHURN
    assert b"\r" not in path.read_bytes()
    dump({"lr": [1, 2], "é": "ü"}, str(path))
    assert load(path) == Space({"lr": [1, 2], "é": "ü"})


def test_the_written_form_is_for_people() -> None:
    assert dumps(CHURN, "yaml") == (
        "lr: {low: 1.0e-05, high: 0.1, log: true}\n"
        "encoder: {choices: [onehot, hash]}\n"
        "bits: {low: 8, high: 16, when: {encoder: hash}}\n"
        "dropout: {low: 0.0, high: 0.5}\n"
        "seed: 42\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Fixed("adam"), "adam"),
        (Fixed("uniform(0, 1)"), '{value: "uniform(0, 1)"}'),
        (Fixed("randint(0, 1)"), '{value: "randint(0, 1)"}'),
        (Fixed([1]), "{value: [1]}"),
        (Fixed({"low": 1}), "{value: {low: 1}}"),
        (Fixed(None), "null"),
        (Fixed("no"), '"no"'),
    ],
)
def test_fixed_values_are_written_so_that_they_stay_fixed(value: Fixed, written: str) -> None:
    text = dumps({"x": value}, "yaml")
    assert text == f"x: {written}\n"
    assert loads(text, "yaml")["x"] == value


def test_a_parameter_called_params_is_written_under_params() -> None:
    space = Space({"params": 1, "lr": 2})
    for format in FORMATS:
        assert loads(dumps(space, format), format) == space
    assert dumps(space, "yaml") == "params:\n  params: 1\n  lr: 2\n"


def test_an_empty_space() -> None:
    for format in FORMATS:
        assert loads(dumps({}, format), format) == Space({})


def at(number: int, rest: str) -> str:
    return rf"^space:{number}: {rest}"


@pytest.mark.parametrize(
    ("format", "text", "message"),
    [
        (
            "yaml",
            "a: 1\nlr:\n  low: 1\n  high: 2\n  lgo: true",
            at(5, r"lr\.lgo: unknown key 'lgo'\. Did you mean 'log'"),
        ),
        (
            "toml",
            "a = 1\n[lr]\nlow = 1\nhigh = 2\nlgo = true",
            at(5, r"lr\.lgo: unknown key 'lgo'\. Did you mean 'log'"),
        ),
        (
            "json",
            '{"a": 1,\n"lr": {"low": 1,\n"high": 2,\n"lgo": 3}}',
            at(4, r"lr\.lgo: unknown key 'lgo'\. Did you mean"),
        ),
        ("yaml", "lr: {low: 1,\n  high: 0}", at(1, r"lr\.low: low must not exceed high; got low=1, high=0: swap them")),
        ("toml", "lr.high = 0\nlr.low = 1", at(2, r"lr\.low: low must not exceed high")),
        ("json", '{"lr":\n{"low": 1, "high": 0}}', at(2, r"lr\.low: low must not exceed high")),
        (
            "yaml",
            "lr:\n  high: 1.0\n  log: true\n  low: 0",
            at(4, r"lr\.low: low must be above 0 with log; got low=0\.0"),
        ),
        ("yaml", "lr:\n  low: '1e-5'\n  high: 1.0", at(2, r"lr\.low: low is a finite number; got '1e-5' of type str")),
        ("yaml", "lr: {low: .nan, high: 1}", at(1, r"lr\.low: low is a finite number; got nan")),
        ("json", '{"lr": {"low": 0.5,\n "high": Infinity}}', at(2, r"lr\.high: high is a finite number; got inf")),
        ("yaml", "d: {low: 1, high: 4,\n  log: 'no'}", at(2, r"d\.log: log is true or false; got 'no'")),
        ("yaml", "lr: 1\n\nlr: 2", at(3, r"lr: a key is written once; 'lr' also stands on line 1")),
        ("yaml", "lr: [1, 2", r"^space:1: this is not YAML"),
        ("yaml", "a:\n  - 1\n  - 2\n  - 1", at(4, r"a\.2: choices differ from each other; 1 comes twice")),
        ("toml", "a = [\n1,\n2,\n1]", at(4, r"a\.2: choices differ")),
        ("yaml", "a:\n  choices:\n    - x\n    - {y: .inf}", at(4, r"a\.choices\.1\.y: a value is finite")),
        ("toml", "a = 1\nday = 2024-01-01", at(2, r"day: a value is a scalar, a list or a dict.*datetime")),
        ("yaml", "e: [a, b]\nx:\n  value: 1\n  when:\n    f: a", at(5, r"x\.when\.f: .*'f' is none")),
        ("toml", "e = ['a']\n[x]\nvalue = 1\nwhen.e = 'b'", at(4, r"x\.when\.e: e never takes 'b'")),
        (
            "json",
            '{"a": 1,\n"b": {"value": 1,\n"when": {"b": 1}}}',
            at(3, r"b\.when: conditions form no circle; got b → b"),
        ),
        ("yaml", "lr: logunifrom(1, 2)", at(1, r"lr: logunifrom\(1, 2\): .*Did you mean 'loguniform'")),
        ("yaml", "params:\n  lr: {low: 2, high: 1}", at(2, r"params\.lr\.low: low must not exceed")),
        ("yaml", "params: {lr: 1}\nobjective: auc", at(2, r"objective: beside 'params' stands only 'constraints'")),
        ("yaml", "params: {lr: 1}\nparam: {b: 1}", at(2, r"param: beside 'params'.*Did you mean 'params'")),
        ("yaml", "a: 1\nparms: {lr: {low: 1, high: 2}}", at(2, r"parms\.lr: unknown key 'lr'")),
        ("yaml", "parms:\n  lr: {low: 1, high: 2}", at(1, r"parms: unknown key 'parms'\. Did you mean 'params'")),
        ("yaml", "params: [1]", at(1, r"params: a space maps names to what they may be; got \[1\]")),
        ("yaml", "params:", at(1, r"params: a space maps names to what they may be; got None")),
        ("yaml", "- a", at(1, r"a space maps names to what they may be; got a list")),
        ("yaml", "", r"^space: a space maps names to what they may be; got nothing"),
        ("json", '""', r"^space: a space maps names to what they may be; got a str"),
        ("yaml", '"": 1', at(1, r"a parameter's name is text; got ''")),
        ("yaml", "1: 1", at(1, r"a key is text; got 1")),
    ],
)
def test_errors_name_file_line_and_key(format: Format, text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        loads(text, format, name="space")


def test_a_single_parameter_may_be_called_almost_params() -> None:
    assert loads("param: {low: 1, high: 2}", "yaml")["param"] == Int(1, 2)
    assert loads("param: 3", "yaml")["param"] == Fixed(3)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.yaml", None, "none.yaml: the file cannot be read: No such file"),
        ("a.yaml", b"a: \xff", "a.yaml: the file is not UTF-8"),
        ("a.ymal", b"a: 1", r"a space is kept in .*; got '\.ymal'.*'\.yaml'"),
        ("a", b"a: 1", r"a space is kept in \.yaml, \.yml, \.toml, \.json; got ''"),
    ],
)
def test_unreadable_files(name: str, content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpaceError, match=words):
        load(path)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert load(path) == Space({"a": 1})


@pytest.mark.parametrize("value", [None, [None]])
def test_toml_has_no_null(value: Any) -> None:
    with pytest.raises(SpaceError, match="TOML has no null"):
        dumps({"a": Fixed(value)}, "toml")


def test_dumps_refuses_what_is_no_space() -> None:
    with pytest.raises(SpaceError, match="low must not exceed high"):
        dumps({"a": {"low": 2, "high": 1}}, "yaml")
