"""Samplers by name with options: ``tpe``, ``tpe(multivariate=true)``, ``{"name": "grid", "points": 5}``."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, BruteForceSampler
from optuna.trial import FrozenTrial

from hpo_pipelines.errors import SpaceError, StudyError
from hpo_pipelines.study.reuse import Attachable, PrefixReuseSampler, Records, Stages
from search_spaces import Categorical, Space
from search_spaces.errors import SpaceError as PlainSpaceError

SAMPLERS = (
    "tpe", "random", "qmc", "grid", "bruteforce", "nsgaii", "nsgaiii", "gp", "cmaes", "prefix-reuse", "memo-gp"
)  # fmt: skip


_EXTRAS = {"gp": ("torch", "gp"), "cmaes": ("cmaes", "cmaes")}
"""What a sampler needs beyond this project's own requirements, and the extra that installs it."""
_MOST = 1_000_000
"""How many points are counted where nothing else says when a study ends."""
_POINT = "hpo:point"


def sampler(
    choice: str | Mapping[str, Any] | BaseSampler | None, seed: int | None, space: Space | None = None
) -> BaseSampler:
    """The sampler that ``choice`` names (default TPE) or is.

    A name alone, with options as a call, or ``{"name": …, option: …}``. ``space`` is what a grid is of. Raises
    StudyError for an unknown name or option, naming the nearest, and for what is not installed, with the cure.
    """
    if isinstance(choice, BaseSampler):
        return choice
    name, options = _read(choice if choice is not None else "tpe")
    if name in _EXTRAS:
        module, extra = _EXTRAS[name]
        if importlib.util.find_spec(module) is None:
            raise StudyError(
                f"sampler={name!r} needs {module}, which is not installed: pip install 'hpo-pipelines[{extra}]'."
            )
    made = _memo() if name == "memogp" else _MADE[name]
    known = _options(made)
    given = {key: _converted(name, key, value, known, seed) for key, value in options.items()}
    if "seed" in known:
        given.setdefault("seed", seed)
    if known.get("warn_independent_sampling") == "bool":
        given.setdefault("warn_independent_sampling", False)  # a line for each trial
    if made is Grid:
        given["space"] = space if space is not None else Space({})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return made(**given)
    except (ValueError, TypeError) as error:
        raise StudyError(f"sampler={choice!r}: {error}") from None


def attach(chosen: BaseSampler, records: Callable[[Stages | None], Records]) -> None:
    """Let a sampler that knows stages read ``records``, which are made for the stages that it was given, if any."""
    if isinstance(chosen, Attachable):
        chosen.attach(records(chosen.stages))


def is_memo(chosen: BaseSampler) -> bool:
    """Whether a sampler scores what is left to compute, or goes around one that does: it has one objective."""
    if isinstance(chosen, PrefixReuseSampler):
        return is_memo(chosen.base)
    return isinstance(chosen, Attachable)


def exhaustive(choice: str | Mapping[str, Any] | BaseSampler | None) -> bool:
    """Whether the sampler takes every point of the space once, and then has no more."""
    if isinstance(choice, BaseSampler):
        return isinstance(choice, Grid | BruteForce)
    if choice is None:
        return False
    name, _ = _read(choice)
    return name in ("grid", "bruteforce")


def name_of(chosen: BaseSampler) -> str:
    """What a sampler is called: ``grid``, ``tpe``; of one without a name here, its class."""
    names = {made: name for name, made in _MADE.items() if isinstance(made, type)}
    return names.get(type(chosen), type(chosen).__name__)


def limit(chosen: BaseSampler, space: Space, n_trials: int | None, *, timed: bool = False) -> int | None:
    """``n_trials``, or how many points an exhaustive sampler has, if that is less.

    Raises StudyError for an exhaustive sampler over a continuous range, and where nothing ends a study of millions.
    """
    if not exhaustive(chosen):
        return n_trials
    points = chosen.points if isinstance(chosen, Grid) else None
    bound = n_trials if n_trials is not None else _MOST
    try:
        size = sum(1 for _ in itertools.islice(space.samples(points), bound))
    except PlainSpaceError as error:
        raise StudyError(f"{error} For a grid, grid(points=5) takes five values of every continuous range.") from None
    if size == 0:
        raise SpaceError("no point of the space satisfies its constraints: widen the ranges or loosen a constraint.")
    if n_trials is None and size == _MOST and not timed:
        raise StudyError(f"the space has {_MOST:,} points or more: give n_trials=, timeout=, or both.")
    return None if n_trials is None and size == _MOST else size


class Grid(BaseSampler):  # type: ignore[misc]
    """Every feasible point of a Space once, in order; ``points`` is how many values each continuous range has.

    Unlike Optuna's own, it knows conditions and constraints, so no point comes twice and none is infeasible.
    """

    def __init__(self, space: Space, points: int | None = None) -> None:
        """Raises ValueError unless ``points`` is at least 1."""
        if points is not None and points < 1:
            raise ValueError(f"points={points}: a range has at least one value.")
        self.points = points
        self._space = space
        self._rest: Iterator[dict[str, Any]] | None = None
        self._known: list[dict[str, Any]] = []
        self._taken: set[int] | None = None

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        if self._taken is None:
            found = (known.system_attrs.get(_POINT) for known in study.get_trials(deepcopy=False))
            self._taken = {index for index in found if index is not None}
        if _POINT in trial.system_attrs or "fixed_params" in trial.system_attrs:
            return
        index = next(index for index in itertools.count() if index not in self._taken)
        if self._point(index) is None:
            raise StudyError(f"all {len(self._known)} points of the grid have had their trial.")
        self._taken.add(index)
        study._storage.set_trial_system_attr(trial._trial_id, _POINT, index)
        trial.system_attrs[_POINT] = index

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        index = trial.system_attrs.get(_POINT)
        index = study._storage.get_trial_system_attrs(trial._trial_id).get(_POINT) if index is None else index
        point = None if index is None else self._point(index)
        if point is None or param_name not in point:
            raise StudyError(f"trial {trial.number} is no point of the grid, so {param_name} has no value.")
        distribution = self._space[param_name]
        value = point[param_name]
        return distribution.label_of(value) if isinstance(distribution, Categorical) else value

    def _point(self, index: int) -> dict[str, Any] | None:
        if self._rest is None:
            self._rest = self._space.samples(self.points)
        while len(self._known) <= index:
            point = next(self._rest, None)
            if point is None:
                return None
            self._known.append(point)
        return self._known[index]


class BruteForce(BruteForceSampler):  # type: ignore[misc]
    """Optuna's, but without stopping a loop of Optuna's own, which a study of ours has not."""

    def after_trial(self, *args: Any) -> None:
        """Nothing: :func:`limit` has counted the points."""


_MADE: dict[str, Callable[..., BaseSampler]] = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "qmc": optuna.samplers.QMCSampler,
    "grid": Grid,
    "bruteforce": BruteForce,
    "nsgaii": optuna.samplers.NSGAIISampler,
    "nsgaiii": optuna.samplers.NSGAIIISampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": optuna.samplers.CmaEsSampler,
    "prefixreuse": PrefixReuseSampler,
    "memogp": lambda **options: _memo()(**options),
}


def _memo() -> Callable[..., BaseSampler]:
    # With scipy, which no other sampler here needs, it takes half a second to import.
    from hpo_pipelines.study.reuse.memo import MemoGPSampler

    return MemoGPSampler


_PLAIN = {"int": int, "float": (int, float), "bool": bool, "str": str, "None": type(None), "dict[str, Any]": dict}
_DEPRECATED = {"consider_prior", "prior_weight", "consider_magic_clip", "consider_endpoints"}


def _options(made: Callable[..., BaseSampler]) -> dict[str, str]:
    """The options that can be written as text, each with its annotation."""
    # Of the class, not its __init__: a decorator of Optuna's hides that behind *args.
    parameters = inspect.signature(made).parameters
    annotated = {name: str(parameter.annotation) for name, parameter in parameters.items()}
    return {
        name: annotation
        for name, annotation in annotated.items()
        if name not in _DEPRECATED
        and (_types(annotation) or name in _NAMED)
        and (name, annotation) != ("warn_independent_sampling", "bool | None")  # deprecated where None is its default
    }


def _types(annotation: str) -> tuple[type, ...]:
    """The types that ``int | None`` allows; none where one of them is no plain value."""
    names = [name.strip() for name in annotation.split("|")]
    if not all(name in _PLAIN for name in names):
        return ()
    found = [_PLAIN[name] for name in names]
    return tuple(kind for kinds in found for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))


def _operator(kind: str) -> Callable[[str, Any, int | None], Any]:
    """Reads the name of one of Optuna's crossovers or mutations: ``sbx`` → ``SBXCrossover()``."""

    def read(name: str, value: Any, seed: int | None) -> Any:
        module = optuna.samplers.nsgaii
        known = {found.removesuffix(kind).lower(): found for found in dir(module) if found.endswith(kind)}
        known.pop("base", None)
        if str(value).lower() not in known:
            raise StudyError(f"{name}: there are {', '.join(known)}; got {value!r}.{_nearest(str(value), known)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return getattr(module, known[str(value).lower()])()

    return read


def _around(name: str, value: Any, seed: int | None) -> BaseSampler:
    """The sampler that another goes around."""
    if exhaustive(value):
        raise StudyError(
            f"{name}={value!r} takes every point once, in an order of its own: use it as it is. "
            "What its trials have in common is computed once anyhow."
        )
    return sampler(value, seed)


def _stages(name: str, value: Any, seed: int | None) -> Stages | None:
    try:
        return None if value is None else Stages(value)
    except (ValueError, TypeError, AttributeError) as error:
        raise StudyError(f"{name}: {error} Write {{load: [rows], fit: [lr]}}, or leave it out.") from None


_NAMED: dict[str, Callable[[str, Any, int | None], Any]] = {
    "crossover": _operator("Crossover"),
    "mutation": _operator("Mutation"),
    "independent_sampler": lambda name, value, seed: sampler(value, seed),
    "base": _around,
    "stages": _stages,
}
"""Options whose values are objects, read from their names."""


def _converted(name: str, option: str, value: Any, known: Mapping[str, str], seed: int | None) -> Any:
    if option not in known:
        plain = [key for key in known if key != "space"]
        raise StudyError(
            f"the sampler {name} has no option {option!r}.{_nearest(option, plain)} It has {', '.join(plain)}."
        )
    if option in _NAMED:
        return _NAMED[option](f"{name}: {option}", value, seed)
    allowed = _types(known[option])
    if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
        raise StudyError(f"the sampler {name}: {option} is {known[option]}; got {value!r}.")
    return value


def _read(choice: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name and the options of a choice. Raises StudyError for an unknown name and wrong syntax."""
    if isinstance(choice, Mapping):
        options = {str(key): value for key, value in choice.items()}
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise StudyError(f"sampler={dict(choice)!r}: write {{name: tpe, multivariate: true}}.")
    elif isinstance(choice, str):
        name, options = _called(choice)
    else:
        raise StudyError(f"sampler={choice!r}: a name, a mapping with a name, or an Optuna sampler object.")
    plain = name.lower().replace("-", "").replace("_", "")
    if plain not in _MADE:
        raise StudyError(
            f"sampler={name!r}: there are {', '.join(SAMPLERS)}, or any Optuna sampler object.{_nearest(plain, _MADE)}"
        )
    return plain, options


def _called(text: str) -> tuple[str, dict[str, Any]]:
    name, bracket, _ = text.strip().partition("(")
    if not bracket:
        return name, {}
    cure = f"sampler={text!r}: write tpe(multivariate=true, n_startup_trials=20)."
    try:
        # The name may have a dash, which is no Python.
        call = ast.parse(f"sampler{text.strip()[len(name) :]}", mode="eval").body
    except (SyntaxError, ValueError):
        raise StudyError(cure) from None
    if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
        raise StudyError(cure)
    return name.strip(), {str(keyword.arg): _written(keyword.value, cure) for keyword in call.keywords}


_WORDS = {"true": True, "false": False, "null": None, "none": None}


def _written(node: ast.expr, cure: str) -> Any:
    """The value that an option is given: a bare word is text, a call the text of another sampler."""
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id, node.id)
    if isinstance(node, ast.Call):
        return ast.unparse(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and isinstance(node.left, ast.Name):
        return f"{node.left.id}-{_written(node.right, cure)}"  # a name with a dash
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise StudyError(cure) from None


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""
