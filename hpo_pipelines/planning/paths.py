"""The ways that a body can go: it is followed again and again, each time with other decisions."""

from __future__ import annotations

import copy
import dis
import inspect
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from types import CodeType, FrameType
from typing import Any

import wrapt

from hpo_pipelines.planning.origins import Origins, origins_of
from hpo_pipelines.planning.tracer import MARK, Unforeseen

MOST_PATHS = 48
"""So many ways are followed for one set of values."""
MOST_DECISIONS = 10
"""After so many decisions a way goes on as the values say; where they do not, it is followed no further."""
MOST_OF_ALL = 1000
"""After so many it is followed no further anyhow."""

MAY = "?"
"""Before the name of a parameter from which a value may come, which is not certain."""

_OURS = str(FilePath(__file__).parents[1])
_LET_ALONE = (inspect.__file__, copy.__file__, str(FilePath(wrapt.__file__).parent))
"""They bind arguments, copy, and stand between a body and its outputs: what they ask tells the body nothing."""


@dataclass(frozen=True)
class Untaken:
    """A way that was not followed yet: the decisions that lead there, and the steps called before the last of them."""

    decisions: tuple[bool, ...]
    called: frozenset[str]


@dataclass
class Way:
    """One way through a body; see :class:`hpo_pipelines.planning.origins.Watch`. It begins with ``prescribed``."""

    prescribed: tuple[bool, ...] = ()
    varied: Origins = frozenset()
    """The parameters whose values are of several types."""
    called: list[str] = field(default_factory=list)
    """The steps called so far."""
    control: dict[str, str] = field(default_factory=dict)
    """The parameters that whatever comes now may depend on, and how that came."""
    leaks: set[str] = field(default_factory=set)
    """The parameters with plain values in the body's hands: it may go other ways with other values, unseen."""
    untaken: list[Untaken] = field(default_factory=list)
    missed: list[Untaken] = field(default_factory=list)
    """Those after so many decisions that they are not taken."""
    quiet: bool = False
    """Set while ours, not the body, asks values."""
    natural: bool = False
    """Whether to stop where only running tells which way the body goes."""
    ended: BaseException | None = None
    """What ended it, if it was followed no further."""
    _taken: list[bool] = field(default_factory=list)

    def escape(self, origins: Origins, how: str) -> None:
        if origins:
            self.depend(origins, how)
            self.leaks |= {name.removeprefix(MAY) for name in origins}

    def typed(self, origins: Origins) -> None:
        known = frozenset(name for name in origins if name.removeprefix(MAY) in self.varied)
        self.escape(known, "by its type")

    def decide(self, origins: Origins, truth: bool | None) -> bool:
        place = len(self._taken)
        if self.natural and truth is None:
            raise self.unforeseen("the truth")
        if not self.natural and (place >= MOST_OF_ALL or (place >= MOST_DECISIONS and truth is None)):
            raise self._end("the body decides so often that no more ways are followed")
        self.depend(origins, "by a decision")
        if place < len(self.prescribed):
            way = self.prescribed[place]
        else:
            way = truth is not False
            if origins or truth is None:
                other = Untaken((*self._taken, not way), frozenset(self.called))
                (self.untaken if place < MOST_DECISIONS else self.missed).append(other)
        self._taken.append(way)
        return way

    def unforeseen(self, what: str) -> BaseException:
        return self._end(f"the body wants to have {what} of what is not known before it has run")

    def _end(self, reason: str) -> BaseException:
        self.ended = self.ended or Unforeseen.because(reason, _place())
        return self.ended

    def depend(self, origins: Origins, how: str) -> None:
        """Whatever the body does from now on may depend on ``origins``."""
        new = [name.removeprefix(MAY) for name in origins if name.removeprefix(MAY) not in self.control]
        if new:
            place = _place()
            said = f"{how} at {place}" if place else how
            self.control.update(dict.fromkeys(new, said))


def followed(follow: Callable[[Way], None], varied: Origins) -> tuple[list[Way], list[Untaken]]:
    """Have ``follow`` take every way there is, shortest first; the ways, and those that were too many to be taken."""
    left: deque[Untaken] = deque([Untaken((), frozenset())])
    ways: list[Way] = []
    while left and len(ways) < MOST_PATHS:
        way = Way(left.popleft().decisions, varied)
        with _watched(way):
            follow(way)
        ways.append(way)
        left.extend(way.untaken)
    return ways, [*left, *(missed for way in ways for missed in way.missed)]


@contextmanager
def _watched(way: Way) -> Iterator[None]:
    """Hear of functions that ask stand-ins for their identity, which those cannot answer, in this thread."""
    before = sys.getprofile()
    thread = threading.get_ident()

    def hear(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and threading.get_ident() == thread and _asks_for_identity(frame.f_code):
            code = frame.f_code
            if way.quiet:
                return
            given = [frame.f_locals.get(name) for name in code.co_varnames[: code.co_argcount]]
            way.escape(origins_of(given), f"by an identity test in {code.co_name}")

    sys.setprofile(hear)
    try:
        yield
    finally:
        sys.setprofile(before)


@lru_cache(4096)
def _asks_for_identity(code: CodeType) -> bool:
    """Whether a function tests by ``is``, or for a type; ours are let alone."""
    if code.co_filename.startswith((_OURS, *_LET_ALONE)):
        return False
    tests = any(found.opname == "IS_OP" or "NONE" in found.opname for found in dis.get_instructions(code))
    return tests or "type" in code.co_names


def _place() -> str | None:
    """The line of the innermost code that is not ours: ``file.py:12``."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith((_OURS, *_LET_ALONE)):
            return f"{MARK.sub('', FilePath(frame.f_code.co_filename).name)}:{frame.f_lineno}"
        frame = frame.f_back
    return None
