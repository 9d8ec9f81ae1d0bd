"""Taking a snapshot: the pipeline's first-party sources, and by value what has no module to be found in."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from blake3 import blake3

from hpo_pipelines.errors import CodeUnavailable
from hpo_pipelines.fingerprint import code_fingerprint
from hpo_pipelines.firstparty import distributions_of, is_first_party
from hpo_pipelines.snapshot.byvalue import main_of, take, text_of_function
from hpo_pipelines.snapshot.closure import BY_VALUE, Closure
from hpo_pipelines.snapshot.code import Code, live
from hpo_pipelines.snapshot.content import Content, Unit, identity
from hpo_pipelines.snapshot.imports import nested_code
from hpo_pipelines.snapshot.names import PrivateName


@dataclass(frozen=True)
class Captured:
    """A snapshot to be stored: ``content`` under the identity ``digest``; the rest is also inside ``content``."""

    digest: str
    entry: str
    content: bytes
    python: str
    packages: Mapping[str, str]


def capture(pipeline: Any, *, first_party: Collection[str] = frozenset()) -> Captured:
    """The code of ``pipeline`` by value, as this process has loaded it.

    ``pipeline`` has a ``function``, and may be a component that is run alone; ``first_party`` names installed modules
    or distributions that are the user's own code and travel too. The digest is the same in every process that has
    loaded the same sources, wherever they lie.

    Raises CodeUnavailable for a pipeline that comes out of a snapshot itself (which has its digest already), and what
    pickle raises when a pipeline that travels by value refers to something that cannot.
    """
    function = pipeline.function
    if isinstance(function.__module__, PrivateName):
        raise CodeUnavailable(
            f"{function.__module__}:{function.__qualname__} was loaded from a snapshot; use that snapshot's digest."
        )
    extra = frozenset(first_party)
    closure, code = Closure(extra), live(extra)
    entry = f"{function.__module__}:{function.__qualname__}"
    closure.reach([] if function.__module__ in BY_VALUE else [function.__module__])
    texts: dict[str, str] = {}
    payload = None
    if not _has_a_name(pipeline, function, closure, code):
        closure = Closure(extra)
        taken = take(pipeline, code)
        payload, texts = taken.payload, _texts_of(taken.functions, extra)
        closure.reach(taken.modules)
    components = _component_sources(pipeline, {**_texts_by_file(closure.units), **texts}, extra)
    by_value = ""
    if payload is not None:
        asked = [f"{found.name} {_asked(found)}" for found in _components(pipeline, extra)]
        by_value = "\n".join([_identity_by_value(function, payload, components, extra), *sorted(asked)])
    content = Content(
        digest=identity(entry, closure.units, by_value),
        entry=entry,
        modules=closure.units,
        payload=payload,
        main={} if payload is None else main_of(function),
        texts={name: text for name, text in texts.items() if name not in _texts_by_file(closure.units)},
        components=components,
        packages=distributions_of(sorted(closure.externals)),
    )
    return Captured(content.digest, entry, content.encode(), content.python, content.packages)


def _has_a_name(pipeline: Any, function: Any, closure: Closure, code: Code) -> bool:
    """Whether a worker can import the pipeline: from a carried module, or from an installed one."""
    module = function.__module__
    if module in BY_VALUE or code.find(module, function.__qualname__) is not pipeline:
        return False
    return module in closure.units or not is_first_party(module, closure.first_party)


def _texts_of(functions: Iterable[FunctionType], first_party: frozenset[str]) -> dict[str, str]:
    """The texts of the files and cells that the user's own among ``functions`` were compiled from."""
    texts: dict[str, str | None] = {}
    for function in functions:
        home = str(function.__globals__.get("__name__", "__main__"))
        if home in BY_VALUE or is_first_party(home, first_party):
            texts[function.__code__.co_filename] = text_of_function(function)
    return {name: text for name, text in texts.items() if text is not None}


def _texts_by_file(units: Mapping[str, Unit]) -> dict[str, str]:
    return {unit.origin: unit.source for unit in units.values() if unit.origin is not None}


def _identity_by_value(
    function: Any, payload: bytes, components: Mapping[str, str], first_party: frozenset[str]
) -> str:
    """What identifies code without a module: its fingerprint, and the text of its components with their options.

    Pickled code differs from process to process, so it counts only where a fingerprint cannot be had.
    """
    fingerprint = code_fingerprint(function, first_party=first_party)
    code = blake3(payload).hexdigest() if fingerprint.problems else fingerprint.digest
    return "\n".join([code, *(f"{name}\n{text}" for name, text in sorted(components.items()))])


def _component_sources(entry: Any, texts: Mapping[str, str], first_party: frozenset[str]) -> dict[str, str]:
    """The source of each component that the function of ``entry`` names, directly or through first-party functions."""
    found: dict[str, str] = {}
    for component in _components(entry, first_party):
        inner = component.function
        source = getattr(component, "text", None) or _source(inner, texts)
        name = component.name if found.get(component.name, source) == source else f"{inner.__module__}.{component.name}"
        if source is not None:
            found[name] = source
    return found


def _components(entry: Any, first_party: frozenset[str]) -> Iterator[Any]:
    """The components, and pipelines, that the function of ``entry`` names, directly or through first-party functions.

    ``entry`` itself is among them if it is a component.
    """
    if hasattr(entry, "options"):
        yield entry
    seen: set[int] = set()
    pending = [entry.function]
    while pending:
        plain = inspect.unwrap(pending.pop())
        if not isinstance(plain, FunctionType) or id(plain) in seen:
            continue
        seen.add(id(plain))
        for value in _named_values(plain, first_party):
            inner = getattr(value, "function", None)
            if inner is not None and isinstance(getattr(value, "name", None), str) and callable(value):
                yield value
            elif isinstance(value, FunctionType) and is_first_party(value.__module__ or "", first_party):
                pending.append(value)


def _asked(component: Any) -> str:
    """What the decorator of ``component`` was given, as far as it says where and how long to run.

    Its source has no more than the names of what was computed before.
    """
    options = getattr(component, "options", None)
    if options is None:
        return ""
    retry, cache = options.retry, options.cache
    parts = (options.environment, options.resources, options.timeout, retry.times, retry.backoff)
    return repr((*parts, cache.enabled, cache.version, cache.ttl, cache.ignore))


def _named_values(function: FunctionType, first_party: frozenset[str]) -> Iterator[Any]:
    """What the names in the body of ``function`` stand for now, attributes of first-party modules included."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    names = [name for code in nested_code(function.__code__) for name in _names(code)]
    scope = {**function.__globals__, **cells}
    for name in dict.fromkeys(names):
        value = scope.get(name)
        if isinstance(value, ModuleType) and is_first_party(value.__name__, first_party):
            yield from (vars(value)[inner] for inner in dict.fromkeys(names) if inner in vars(value))
        else:
            yield value


def _names(code: CodeType) -> tuple[str, ...]:
    return code.co_names + code.co_freevars


def _source(function: Any, texts: Mapping[str, str]) -> str | None:
    """The lines of ``function``, decorators included, from the text it was loaded from."""
    plain = inspect.unwrap(function)
    if not isinstance(plain, FunctionType):
        return None
    code = plain.__code__
    text = texts.get(code.co_filename) or text_of_function(plain)
    lines = (text or "").splitlines(keepends=True)[code.co_firstlineno - 1 :]
    return "".join(inspect.getblock(lines)) if lines else None
