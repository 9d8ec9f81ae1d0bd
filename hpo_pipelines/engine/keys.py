"""A step's key: the digest of named parts that say what it computes, from what, and with what."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.canonical import NotCanonical, value_digest
from hpo_pipelines.component import Component
from hpo_pipelines.fingerprint import CodeFingerprint


@dataclass(frozen=True)
class Key:
    """``digest`` identifies the work; None when a part of it cannot be hashed, which ``problem`` then names."""

    digest: str | None
    parts: Mapping[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Stored:
    """Stands, inside an argument, for a stored input: its identity without its value."""

    value_digest: str


def argument_digest(name: str, value: Any) -> tuple[str, str | None]:
    """The identity of one argument, and what is wrong with it if it has none."""
    try:
        return value_digest(value), None
    except NotCanonical as error:
        return "", f"argument {name} cannot be hashed: {error}"


def step_key(
    component: Component[..., Any], code: CodeFingerprint, inputs: Mapping[str, str], problems: tuple[str, ...]
) -> Key:
    """The key of one call of ``component``, whose arguments have the identities ``inputs``."""
    cache, environment = component.options.cache, component.options.environment
    parts: dict[str, Any] = {
        "component": f"{component.__module__}:{component.__qualname__}",
        "code": {"digest": code.digest, **code.parts},
        "packages": dict(code.packages),
        "inputs": {name: digest for name, digest in inputs.items() if name not in cache.ignore},
        "environment": {
            "python": "{}.{}".format(*sys.version_info),
            "packages": list(environment.packages),
            "env": dict(environment.env),
            "image": environment.image,
        },
    }
    found = [*code.problems, *problems]
    if cache.version is not None:
        parts["version"] = cache.version
    for index, dependency in enumerate(cache.depends):
        digest, problem = argument_digest(f"depends[{index}]", dependency)
        parts.setdefault("depends", []).append(digest)
        found += [problem] if problem else []
    if found:
        return Key(None, parts, found[0])
    identity = {name: value for name, value in parts.items() if name not in ("code", "component")}
    return Key(value_digest({**identity, "code": code.digest, "outputs": component.form.names}), parts)
