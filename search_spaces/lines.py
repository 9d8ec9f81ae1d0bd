"""On which line each key of a TOML or JSON text stands, which their parsers in the standard library do not tell.

Both scanners trust that the text has been parsed before, so they need not judge it.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right

from search_spaces.place import Keys, Place

Lines = dict[Keys, int]


def json_lines(text: str, file: str) -> Lines:
    """The line (from 1) of every key and list item of ``text``. Raises SpaceError for a key written twice."""
    scanner = _Json(text, file)
    scanner.value(())
    return scanner.lines


def toml_lines(text: str) -> Lines:
    """The line (from 1) of every key, table and array item of ``text``."""
    scanner = _Toml(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """A position in a text, moved on by patterns."""

    blank = re.compile(r"\s*")

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: Lines = {}
        self._starts = [match.end() for match in re.finditer("\n", text)]

    def line(self) -> int:
        return bisect_right(self._starts, self.position) + 1

    def take(self, pattern: re.Pattern[str]) -> str:
        """What ``pattern`` matches here, empty for nothing; the position moves behind it and the blanks after it."""
        match = pattern.match(self.text, self.position)
        if match is None:
            return ""
        self.position = match.end()
        self.skip()
        return match[0]

    def skip(self) -> None:
        blank = self.blank.match(self.text, self.position)
        self.position = blank.end() if blank else self.position


_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_JSON_REST = re.compile(r"[^\s,\]}]+")
_OPEN_LIST, _CLOSE_LIST = re.compile(r"\["), re.compile(r"\]")
_OPEN_MAP, _CLOSE_MAP = re.compile(r"\{"), re.compile(r"\}")
_COMMA, _COLON, _EQUALS, _DOT = re.compile(","), re.compile(":"), re.compile("="), re.compile(r"\.")


class _Json(_Scanner):
    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self.skip()

    def value(self, path: Keys) -> None:
        if self.take(_OPEN_LIST):
            self._items(path)
        elif self.take(_OPEN_MAP):
            self._members(path)
        else:
            _ = self.take(_JSON_STRING) or self.take(_JSON_REST)

    def _items(self, path: Keys) -> None:
        index = 0
        while not self.take(_CLOSE_LIST):
            self.lines[(*path, index)] = self.line()
            self.value((*path, index))
            self.take(_COMMA)
            index += 1

    def _members(self, path: Keys) -> None:
        while not self.take(_CLOSE_MAP):
            line = self.line()
            key = (*path, json.loads(self.take(_JSON_STRING)))
            if key in self.lines:
                raise duplicate(key, self._file, self.lines[key], line)
            self.lines[key] = line
            self.take(_COLON)
            self.value(key)
            self.take(_COMMA)


def duplicate(path: Keys, file: str, first: int, second: int) -> Exception:
    """The SpaceError for a key written on two lines of one mapping."""
    place = Place(path, file, {path: second})
    return place.error(f"a key is written once; {path[-1]!r} also stands on line {first}: drop one of them.")


_TOML_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'|[A-Za-z0-9_-]+")
_TOML_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'", re.DOTALL)
_TOML_REST = re.compile(r"[^,\]}\n#]+")
_OPEN_TABLE, _CLOSE_TABLE = re.compile(r"\[\[?"), re.compile(r"\]\]?")


class _Toml(_Scanner):
    blank = re.compile(r"(?:\s|#[^\n]*)*")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._counts: dict[Keys, int] = {}
        self.skip()

    def document(self) -> None:
        table: Keys = ()
        while self.position < len(self.text):
            line = self.line()
            opening = self.take(_OPEN_TABLE)
            if opening:
                table = self._header(array=opening == "[[", line=line)
                self.take(_CLOSE_TABLE)
            else:
                self._pair(table)

    def _header(self, *, array: bool, line: int) -> Keys:
        path: Keys = ()
        keys = self._keys()
        for depth, key in enumerate(keys, start=1):
            path = (*path, key)
            self.lines.setdefault(path, line)
            if array and depth == len(keys):
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path = (*path, self._counts[path] - 1)
                self.lines.setdefault(path, line)
        return path

    def _pair(self, path: Keys) -> None:
        line = self.line()
        for key in self._keys():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.take(_EQUALS)
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self.take(_DOT):
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        text = self.take(_TOML_KEY)
        return next(iter(tomllib.loads(f"{text} = 0")))

    def _value(self, path: Keys) -> None:
        if self.take(_OPEN_LIST):
            self._items(path)
        elif self.take(_OPEN_MAP):
            while not self.take(_CLOSE_MAP):
                self._pair(path)
                self.take(_COMMA)
        else:
            _ = self.take(_TOML_STRING) or self.take(_TOML_REST)

    def _items(self, path: Keys) -> None:
        index = 0
        while not self.take(_CLOSE_LIST):
            self.lines[(*path, index)] = self.line()
            self._value((*path, index))
            self.take(_COMMA)
            index += 1
