"""Study files: a whole study in YAML, TOML or JSON, read with its lines and written back.

::

    pipeline: pipeline.py:digits        # or run: digits#3
    objective: evaluate.accuracy
    space: space.yaml                   # or params: {lr: {low: 1e-5, high: 1e-1, log: true}}, or both
    n_trials: 30
    n_jobs: 4

Several objectives stand as ``objectives: {fit.val_auc: maximize, fit.size: minimize}``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_pipelines.errors import HpoPipelinesError, ParameterError, SpaceError, StudyError
from hpo_pipelines.study.fidelity import parsed
from hpo_pipelines.study.goals import DIRECTIONS, Constraint
from hpo_pipelines.types import duration
from search_spaces import Space, gallery, load
from search_spaces.documents import Document, Format, read
from search_spaces.errors import SpaceError as PlainSpaceError
from search_spaces.place import Place
from search_spaces.values import nearest
from search_spaces.writers import write

SUFFIXES: Mapping[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


@dataclass(frozen=True)
class _Key:
    """What may stand under one key: ``rule`` for people, ``holds`` for us, ``schema`` for editors."""

    rule: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any]
    about: str
    why: Callable[[Any], str] | None = None
    """What is wrong with a value that does not hold, where that is more than the rule."""


def _text(about: str, *choices: str) -> _Key:
    rule = f"one of {', '.join(choices)}" if choices else "text"
    schema = {"enum": list(choices)} if choices else {"type": "string", "minLength": 1}

    def holds(value: Any) -> bool:
        return isinstance(value, str) and bool(value) and (not choices or value in choices)

    return _Key(rule, holds, schema, about)


def _count(about: str, least: int = 1) -> _Key:
    def holds(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return _Key(f"a whole number, {least} or more", holds, {"type": "integer", "minimum": least}, about)


def _is_duration(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(duration(value))
    except (ParameterError, TypeError):
        return False


def _duration(about: str) -> _Key:
    rule = 'seconds, or a number with a unit such as "2h"'
    return _Key(rule, _is_duration, {"type": ["number", "string"]}, about)


def _texts(about: str, rule: str, holds: Callable[[str], bool], *choices: str) -> _Key:
    """One text, or a list of them, each of which ``holds``."""
    one = {"enum": list(choices)} if choices else {"type": "string", "minLength": 1}

    def each(value: Any) -> bool:
        listed = value if isinstance(value, list) else [value]
        return bool(listed) and all(isinstance(item, str) and bool(item) and holds(item) for item in listed)

    return _Key(rule, each, {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}, about)


def _is_constraint(text: str) -> bool:
    try:
        Constraint.parse(text)
    except StudyError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_repeats(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    (wanted,) = value.values()
    many = len(wanted) if isinstance(wanted, list) else wanted
    return isinstance(many, int) and not isinstance(many, bool) and many >= 2


def _wrong_fidelity(value: Any) -> str:
    """Why ``value`` is no fidelity; empty for one."""
    try:
        return "" if parsed(value) is not None else "it is empty."
    except StudyError as error:
        return str(error).removeprefix("fidelity: ")


def _are_objectives(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(each in DIRECTIONS for each in value.values())


KEYS: Mapping[str, _Key] = {
    "pipeline": _text(
        "What is tuned: MODULE:PIPELINE, FILE.py:PIPELINE as seen from this file, or the file of a chain."
    ),
    "run": _text("What is tuned, instead of a pipeline: a recorded run, whose clones the trials are."),
    "objective": _texts(
        "STEP.METRIC, or a key of what the pipeline returns; without it the returned number. A list for several.",
        "STEP.METRIC, or a list of them",
        lambda text: True,
    ),
    "direction": _texts(
        "Which way is better; of several objectives a list.",
        f"one of {', '.join(DIRECTIONS)}",
        lambda text: text in DIRECTIONS,
        *DIRECTIONS,
    ),
    "objectives": _Key(
        "a mapping of each STEP.METRIC to maximize or minimize",
        _are_objectives,
        {"type": "object", "minProperties": 1, "additionalProperties": {"enum": list(DIRECTIONS)}},
        "Several objectives, each with its direction, instead of objective and direction.",
    ),
    "constraints": _texts(
        "Bounds on a metric of any step, such as fit.memory <= 8e9; trials that violate one are never best.",
        "STEP.METRIC <= NUMBER, or with >=, < or >; or a list of them",
        _is_constraint,
    ),
    "space": _text("A file with the search space, as seen from this file, or a name of the gallery (hpo space ls)."),
    "params": _Key(
        "a mapping of parameters to what they may be",
        lambda value: isinstance(value, dict),
        {"type": "object"},
        "The search space itself, or what differs from the one in the file.",
    ),
    "sampler": _Key(
        "a name, such as tpe or tpe(multivariate=true), or {name: tpe, multivariate: true}",
        lambda value: bool(value) and (isinstance(value, str) or (isinstance(value, dict) and "name" in value)),
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "object", "required": ["name"]}]},
        "The sampler, by name, with its options.",
    ),
    "pruner": _text("Optuna's pruner, by name."),
    "prune_on": _texts(
        "The metrics that the pruner hears, instead of the objective; STEP.METRIC:minimize for another direction.",
        "STEP.METRIC, STEP.METRIC:maximize or STEP.METRIC:minimize; or a list of them",
        lambda text: bool(text.partition(":")[0]) and text.partition(":")[2] in ("", *DIRECTIONS),
    ),
    "seed": _count("Seed of the sampler.", 0),
    "repeats": _Key(
        "the parameter that is the seed with how many values it takes, or which, such as {seed: 5}",
        _are_repeats,
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {
                "anyOf": [{"type": "integer", "minimum": 2}, {"type": "array", "minItems": 2}],
            },
        },
        "Run each trial with several seeds; its value is the mean.",
    ),
    "fidelity": _Key(
        "a parameter with its rungs, such as {param: sample_rows, min: 1000, max: 100000, eta: 3}",
        lambda value: not _wrong_fidelity(value),
        {
            "type": "object",
            "properties": {
                "param": {"type": "string", "minLength": 1},
                "min": {"type": "number", "exclusiveMinimum": 0},
                "max": {"type": "number", "exclusiveMinimum": 0},
                "eta": {"type": "number", "minimum": 2},
                "brackets": {"type": "integer", "minimum": 1},
            },
            "required": ["param", "min", "max"],
            "additionalProperties": False,
        },
        "Run each trial at rising values of this parameter, as long as it is among the best 1/eta (ASHA, Hyperband).",
        _wrong_fidelity,
    ),
    "enqueue": _Key(
        "a list of points, such as [{lr: 0.1, depth: 3}]",
        lambda value: isinstance(value, list) and all(isinstance(point, dict) for point in value),
        {"type": "array", "items": {"type": "object"}},
        "Points that go first, each with a value for every parameter.",
    ),
    "from_study": _texts(
        "Studies whose trials a new study begins with.", "the name of a study, or a list of them", lambda text: True
    ),
    "from_runs": _texts(
        "Past runs that a new study begins with as trials: all, tag:NAME, or runs such as churn#48.",
        "all, tag:NAME, a run, or a list of these",
        lambda text: True,
    ),
    "n_trials": _count("Trials in all, those of earlier calls included."),
    "timeout": _duration("Stop asking after this long."),
    "max_compute": _duration("Stop asking once steps have executed for this long in all."),
    "target": _Key("a number", _is_number, {"type": "number"}, "Stop asking once a trial has this value, or better."),
    "plateau": _count("Stop asking after so many trials in a row without a better value."),
    "n_jobs": _count("Trials in flight."),
    "max_failures": _count("Stop after so many failed trials."),
    "name": _text(
        "The study's name; the same name goes on with it. Without it the file's, or for study.yaml its folder's."
    ),
    "executor": _text("Where steps run.", "inline", "local", "ray"),
    "queue": _text("Have agents of this queue drive the trials."),
    "notify": _Key(
        "the name of a webhook of the settings, or a list of them, which may be empty",
        lambda value: (
            isinstance(value, str | list)
            and all(isinstance(each, str) and each for each in ([value] if isinstance(value, str) else value))
        ),
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}},
            ]
        },
        "The webhooks that are told of the study, by name; an empty list for none.",
    ),
    "storage": _text("Optuna storage URL; without it a journal file beside the store."),
}
_OPTIONS = tuple(name for name in KEYS if name not in ("pipeline", "run", "space", "params", "objectives"))


@dataclass(frozen=True)
class StudyFile:
    """A study as it is written down. ``options`` are those of :func:`hpo_pipelines.optimize`, by name."""

    space: Space
    pipeline: str | None = None
    """``MODULE:PIPELINE``, or ``FILE.py:PIPELINE`` with the whole path of the file."""
    run: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    place: Place = field(default_factory=Place, compare=False)
    """Where it is written."""

    @contextmanager
    def blamed(self, *keys: str) -> Iterator[None]:
        """Errors about what stands under ``keys`` say where that is written: ``study.yaml:4: sampler: …``."""
        try:
            yield
        except (HpoPipelinesError, PlainSpaceError) as error:
            told = self._told(str(error), keys)
            if told is not None:
                error.args = (told,)
            raise

    def _told(self, message: str, keys: Iterable[str]) -> str | None:
        for key in keys:
            # Errors name what they are about as a caller of optimize has it; a mapping has a key of its own.
            value = self.options.get(key)
            about = (f"{key}=", f"the {key} ", f"there is no {key} {value!r}")
            if key in ("pipeline", "run") or (value is not None and message.startswith(about)):
                return str(self.place.at(key).error(message))
        return None

    @classmethod
    def load(cls, path: str | Path) -> StudyFile:
        """The study in ``path``. Raises SpaceError with file, line and key, and the nearest spelling of a wrong one."""
        path = Path(path)
        try:
            document = read(path.read_text(encoding="utf-8-sig"), _format(path), str(path))
            return _study(document, path)
        except PlainSpaceError as error:
            raise SpaceError(str(error)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise SpaceError(f"{path}: the file cannot be read: {error}.") from None

    def dump(self, path: str | Path) -> None:
        """Write the study where :meth:`load` reads it back."""
        target = {"pipeline": self.pipeline} if self.pipeline is not None else {"run": self.run}
        content = {**target, **self.options, "params": self.space.as_dict()}
        Path(path).write_text(write(content, _format(Path(path)), under=None), encoding="utf-8", newline="\n")


def is_study_file(target: str) -> bool:
    """Whether ``target`` names a file of a kind that studies are written in."""
    return Path(target).suffix.lower() in SUFFIXES


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a study file, for editors."""
    properties = {name: {**key.schema, "description": key.about} for name, key in KEYS.items()}
    for name, words in _words().items():
        other = KEYS[name].schema
        properties[name] = {
            "anyOf": [{"enum": words}, *other.get("anyOf", [other])],
            "description": KEYS[name].about,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of hpo_pipelines",
        "type": "object",
        "properties": properties,
        "oneOf": [{"required": ["pipeline"]}, {"required": ["run"]}],
        "anyOf": [{"required": ["space"]}, {"required": ["params"]}],
        "additionalProperties": False,
    }


def _words() -> dict[str, list[str]]:
    """What editors offer under keys that also take other texts."""
    from hpo_pipelines.study.samplers import SAMPLERS
    from hpo_pipelines.study.sampling import PRUNERS
    from search_spaces.documents import gallery_names

    return {"sampler": list(SAMPLERS), "pruner": list(PRUNERS), "space": list(gallery_names())}


def _format(path: Path) -> Format:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise PlainSpaceError(f"{path}: a study is kept in {', '.join(SUFFIXES)}.{nearest(suffix, SUFFIXES)}")
    return SUFFIXES[suffix]


def _study(document: Document, path: Path) -> StudyFile:
    content, place = document.value, document.place
    if not isinstance(content, dict):
        raise place.error("a study file holds key: value pairs, such as pipeline: pipeline.py:churn.")
    for name, value in content.items():
        _check(name, value, place.at(name))
    targets = [name for name in ("pipeline", "run") if name in content]
    if len(targets) != 1:
        raise place.error(f"a study is of one pipeline or of one run; got {' and '.join(targets) or 'neither'}.")
    options = {name: content[name] for name in _OPTIONS if name in content}
    if "objectives" in content:
        if "objective" in content or "direction" in content:
            raise place.at("objectives").error("it takes the place of objective and direction; leave those out.")
        options["objective"] = list(content["objectives"])
        options["direction"] = list(content["objectives"].values())
    # Many files are called study.yaml; what they are about is said by where they are.
    options.setdefault("name", path.stem if path.stem != "study" else path.absolute().parent.name or "study")
    return StudyFile(
        space=_space(content, place, path.parent),
        pipeline=_resolved(content["pipeline"], path.parent) if "pipeline" in content else None,
        run=content.get("run"),
        options=options,
        place=place,
    )


def _check(name: str, value: Any, place: Place) -> None:
    if name not in KEYS:
        raise place.error(f"a study file has no {name!r}.{nearest(name, KEYS)} Known: {', '.join(KEYS)}.")
    if not KEYS[name].holds(value):
        why = KEYS[name].why
        hint = nearest(str(value), _choices(KEYS[name].schema)) if why is None else f" {why(value)}"
        raise place.error(f"it is {KEYS[name].rule}; got {value!r}.{hint}")


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The words that a key takes, if it takes but some."""
    one = schema.get("anyOf", [schema])[0]
    return list(one.get("enum", ()))


def _space(content: Mapping[str, Any], place: Place, folder: Path) -> Space:
    if "space" not in content and "params" not in content:
        raise place.error("a study needs a space: params: {lr: {low: 0.1, high: 1.0}}, or space: FILE.")
    here = place.at("params")
    if "space" not in content:
        return Space(content["params"], place=here)
    named = str(content["space"])
    in_gallery = not Path(named).suffix and not (folder / named).is_file()
    if in_gallery:
        with place.at("space").locating():
            base = gallery(named)
    else:
        base = load(folder / named)
    return base.override(content["params"], place=here) if "params" in content else base


def _resolved(pipeline: str, folder: Path) -> str:
    """``pipeline`` with its file, if it names one, as seen from ``folder``."""
    file, colon, name = pipeline.rpartition(":") if ":" in pipeline else (pipeline, "", "")
    return f"{(folder / file).absolute()}{colon}{name}" if file.endswith((".py", *SUFFIXES)) else pipeline
