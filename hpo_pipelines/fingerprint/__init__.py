"""The ``code`` part of a step's key: what a component's code is, wherever and however often it is loaded.

A fingerprint covers the component's function and, transitively, every first-party function, class, method, lambda,
closure cell and constant that it reaches by name or by attribute of a module. It is the same in every process, for
every hash seed and checkout.

What counts: the syntax tree of each function and class (so formatting and comments do not), without docstrings;
annotations, since decorators, dataclasses and ``singledispatch`` read them, and since an annotated class's methods may
be called; decorators of the user's own, and of this project only their ``outputs=``; defaults, closure cells and
constants *by value, as they are now*; names of parameters and of local variables (``locals()``, ``eval`` and pandas'
``query`` read those, so a renamed local is another code); aliases of imports. Versions of distributions are not part
of the digest: see :attr:`CodeFingerprint.packages`.

What cannot be seen: names looked up by text (``getattr(obj, name)``, ``importlib.import_module(name)``, ``globals()``),
what an instance's method is when the instance comes in as an argument without annotation, files that the code reads.

A function that travelled by value agrees with the one that was imported if its source is to be had (a file, an entry
in ``linecache``). A bare cloudpickle leaves behind the names that only decorators and annotations use; our snapshots
carry those too (:mod:`hpo_pipelines.snapshot.byvalue`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from hpo_pipelines.fingerprint.files import file_digest, package_digests
from hpo_pipelines.fingerprint.guards import Guards
from hpo_pipelines.fingerprint.reach import Reach
from hpo_pipelines.fingerprint.scope import project_of
from hpo_pipelines.fingerprint.source import Texts
from hpo_pipelines.firstparty import distributions_of

__all__ = [
    "CodeFingerprint",
    "code_fingerprint",
    "file_digest",
    "package_digests",
    "project_of",
    "unwrap",
    "value_fingerprint",
]

_KEPT = 512


@dataclass(frozen=True)
class CodeFingerprint:
    """``digest`` identifies the code: 64 hexadecimal digits over all ``parts``.

    ``parts`` gives each reached piece its own digest. Names are ``module:qualname`` for functions, classes and
    constants, ``module:NAME['key']`` for a lambda (where it was found), ``module:function(parameter=)`` for a default
    value, ``module:function[name]`` for a closure cell, ``module:*`` for a module that is handed around as a whole.
    ``sources`` gives the text of each piece where there is one (of a constant: as it is when asked for), ``packages``
    the versions of the distributions that the code imports, ``problems`` the values that have no identity, one sentence
    each: with any of these, equal digests do not mean equal code.
    """

    digest: str
    parts: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    first_party: frozenset[str] = frozenset()
    """What was followed as first-party besides what is so by itself."""


_memo: OrderedDict[tuple[int, frozenset[str]], tuple[object, Guards, CodeFingerprint]] = OrderedDict()
_lock = threading.Lock()


def code_fingerprint(function: Callable[..., Any], *, first_party: Collection[str] = frozenset()) -> CodeFingerprint:
    """The fingerprint of ``function``, a plain function or a Component or Pipeline.

    ``first_party`` names modules or distributions to treat as the user's own code. Remembered for each function until a
    name that the code reads is bound to something else, or a constant's content changes. First-party modules that the
    code imports inside functions are imported.
    """
    target = unwrap(function)
    return value_fingerprint(target, getattr(target, "__name__", "function"), first_party=first_party)


def value_fingerprint(value: object, name: str, *, first_party: Collection[str] = frozenset()) -> CodeFingerprint:
    """The fingerprint of any value: data by content, code with all that it reaches, a module as a whole.

    ``name`` is what messages call it. Remembered like that of a function.
    """
    key = (id(value), frozenset(first_party))
    with _lock:
        known = _memo.get(key)
    if known is not None and known[0] is value and known[1].hold():
        return known[2]
    reach = Reach(key[1])
    result = _result(reach, reach.follow(value, name), key[1])
    with _lock:
        _memo[key] = (value, reach.guards, result)
        _memo.move_to_end(key)
        while len(_memo) > _KEPT:
            _memo.popitem(last=False)
    return result


def unwrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under this project's decorators; decorators of anybody else are part of what it does, and stay."""
    while type(function).__module__.startswith("hpo_pipelines.") and hasattr(function, "function"):
        function = function.function
    return function


def _result(reach: Reach, root: str, first_party: frozenset[str]) -> CodeFingerprint:
    lines = [root, *(f"{name} {digest}" for name, digest in sorted(reach.parts.items()))]
    return CodeFingerprint(
        digest=blake3("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest(),
        parts=dict(sorted(reach.parts.items())),
        packages=distributions_of(reach.externals),
        problems=tuple(reach.problems),
        sources=Texts(dict(sorted(reach.sources.items()))),
        first_party=first_party,
    )
