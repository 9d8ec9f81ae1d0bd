"""What a snapshot holds, and how it becomes bytes: JSON, so that a page can show old code without running any."""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blake3 import blake3

from hpo_pipelines.errors import CodeUnavailable

FORMAT = 1


@dataclass(frozen=True)
class Unit:
    """One first-party module as it was loaded.

    ``origin`` is the path it came from, for tracebacks and for data files beside it; None for a namespace package.
    """

    source: str
    is_package: bool
    origin: str | None
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Files beside it that belong to its code, by their names as seen from its folder."""

    @property
    def is_namespace(self) -> bool:
        return self.origin is None


@dataclass(frozen=True)
class Content:
    """Everything needed to load the code of one pipeline again, in any process."""

    digest: str
    entry: str
    """``module:qualname`` of the pipeline."""
    modules: Mapping[str, Unit]
    payload: bytes | None = None
    """The pickled ``(pipeline, names)``, where the pipeline is not an attribute of a module: ``names`` are those of
    ``__main__`` that its classes and annotations mention."""
    main: Mapping[str, str] = field(default_factory=dict)
    """``file`` and ``module`` (of ``python -m``) of the ``__main__`` that ``payload`` was taken from."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """File name -> source, of the code inside ``payload`` (a script, the cells of a notebook)."""
    components: Mapping[str, str] = field(default_factory=dict)
    """Component name -> its source, for people."""
    python: str = field(default_factory=platform.python_version)
    packages: Mapping[str, str] = field(default_factory=dict)
    """Distribution -> version, of the third-party code that is imported."""

    def encode(self) -> bytes:
        """The content as JSON; equal contents give equal bytes."""
        record = {
            "format": FORMAT,
            "digest": self.digest,
            "entry": self.entry,
            "payload": None if self.payload is None else base64.b85encode(self.payload).decode("ascii"),
            "modules": {name: _written(unit) for name, unit in self.modules.items()},
            "main": dict(self.main),
            "texts": dict(self.texts),
            "components": dict(self.components),
            "python": self.python,
            "packages": dict(self.packages),
        }
        return json.dumps(record, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Content:
        """Undo :meth:`encode`. Raises CodeUnavailable for bytes that are no snapshot, or one of a later version."""
        try:
            record: dict[str, Any] = json.loads(content)
            found = record.pop("format")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CodeUnavailable(f"These {len(content)} bytes are not a code snapshot ({error}).") from error
        if found != FORMAT:
            raise CodeUnavailable(
                f"The code snapshot has format {found!r}; this version reads format {FORMAT}. Upgrade hpo_pipelines."
            )
        payload = record["payload"]
        record["payload"] = None if payload is None else base64.b85decode(payload)
        record["modules"] = {name: _unit(*unit) for name, unit in record["modules"].items()}
        return cls(**record)


def _digests(unit: Unit) -> list[list[str]]:
    return [[name, blake3(content).hexdigest()] for name, content in sorted(unit.files.items())]


def _written(unit: Unit) -> list[Any]:
    """What is recorded of a module; one without files as ever, so that older versions read it too."""
    files = {name: base64.b85encode(content).decode("ascii") for name, content in unit.files.items()}
    return [unit.source, unit.is_package, unit.origin, *([files] if files else [])]


def _unit(source: str, is_package: bool, origin: str | None, files: Mapping[str, str] | None = None) -> Unit:
    found = {name: base64.b85decode(content) for name, content in (files or {}).items()}
    return Unit(source, is_package, origin, found)


def identity(entry: str, modules: Mapping[str, Unit], by_value: str) -> str:
    """The digest that names a snapshot: of its sources (not of where they lay) and of the code that has none.

    ``by_value`` identifies an entry that travels as a payload; empty for one that is found in ``modules``.
    """
    sources = [[name, unit.is_package, unit.source, *_digests(unit)] for name, unit in sorted(modules.items())]
    return blake3(json.dumps([entry, sources, by_value]).encode("ascii")).hexdigest()
