"""Commands as they are written: words with placeholders, each of which becomes an argument of the component."""

from __future__ import annotations

import inspect
import shlex
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hpo_pipelines.errors import DefinitionError

_TYPES: Mapping[str, type] = {"bool": bool, "float": float, "int": int, "str": str}
_TRUTHS = {"true": True, "false": False}
MISSING = inspect.Parameter.empty


@dataclass(frozen=True)
class Placeholder:
    """``{lr:float=0.1}``: a name, and perhaps a type and a default, which says the type if none is written."""

    name: str
    type: Any = MISSING
    default: Any = MISSING


@dataclass(frozen=True)
class Template:
    """A command: its ``words``, or with ``shell`` the one text that a shell reads."""

    text: str
    words: tuple[str, ...]
    shell: bool = False

    @classmethod
    def of(cls, text: str, *, shell: bool = False) -> Template:
        """Split ``text`` as a shell would, once and for all: what placeholders stand for is never split.

        Raises DefinitionError for an empty text, an open quote, and braces that are no placeholder.
        """
        if not isinstance(text, str) or not text.strip():
            raise DefinitionError(f"command({text!r}): a command is text, such as 'python train.py --lr {{lr}}'.")
        try:
            words = (text,) if shell else tuple(shlex.split(text))
        except ValueError as error:
            raise DefinitionError(f"command({text!r}): it does not split into words: {error}.") from None
        made = cls(text, words, shell)
        list(made.placeholders())
        return made

    def placeholders(self) -> Iterator[Placeholder]:
        """Each name once, in the order of its first appearance."""
        found: dict[str, Placeholder] = {}
        for word in self.words:
            for _, name, spec, conversion in self._pieces(word):
                if name is None:
                    continue
                made = self._placeholder(name, spec or "", conversion)
                before = found.setdefault(name, made)
                if made not in (before, Placeholder(name)):
                    raise DefinitionError(
                        f"command({self.text!r}): {{{name}}} is declared in two ways; give its type once."
                    )
        yield from found.values()

    def filled(self, texts: Mapping[str, str]) -> list[str]:
        """The words with each placeholder's text in its place; for a shell, quoted."""
        if self.shell:
            quoted = {name: shlex.quote(text) for name, text in texts.items()}
            return ["/bin/sh", "-c", self._filled(self.text, quoted)]
        return [self._filled(word, texts) for word in self.words]

    def _filled(self, word: str, texts: Mapping[str, str]) -> str:
        return "".join(literal + ("" if name is None else texts[name]) for literal, name, _, _ in self._pieces(word))

    def _pieces(self, word: str) -> list[tuple[str, str | None, str | None, str | None]]:
        try:
            return list(string.Formatter().parse(word))
        except ValueError as error:
            raise DefinitionError(
                f"command({self.text!r}): {error}; a placeholder is {{name}}, and a brace itself is written twice."
            ) from None

    def _placeholder(self, name: str, spec: str, conversion: str | None) -> Placeholder:
        if not name.isidentifier() or conversion:
            raise DefinitionError(
                f"command({self.text!r}): {{{name}}} is no name of an argument; a placeholder is {{name}}, "
                "{name:float} or {name:float=0.1}, and a brace itself is written twice."
            )
        kind, equals, written = spec.partition("=")
        if kind and kind not in _TYPES:
            raise DefinitionError(
                f"command({self.text!r}): {{{name}:{spec}}}: a type is one of {', '.join(_TYPES)}; got {kind!r}."
            )
        if not equals:
            return Placeholder(name, _TYPES[kind] if kind else MISSING)
        return self._with_default(name, kind, written)

    def _with_default(self, name: str, kind: str, written: str) -> Placeholder:
        try:
            cls = _TYPES[kind] if kind else str
            default = _TRUTHS[written.lower()] if cls is bool else cls(written)
        except (ValueError, KeyError):
            raise DefinitionError(f"command({self.text!r}): the default {written!r} of {name} is no {kind}.") from None
        return Placeholder(name, cls, default)
