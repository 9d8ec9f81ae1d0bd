"""One edit, with what it must do to a recorded step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """``flow.py`` among ``files`` holds a pipeline ``flow`` that calls a component ``step``.

    It runs, the ``edits`` are made (None deletes a file), it runs again in another process. ``expect`` says what the
    second run does with the step: ``hit`` (reuses it) or ``miss`` (runs it). On a miss ``changed`` is a kind of
    :class:`hpo_pipelines.engine.keys.Difference`, and text that the name of one changed piece of it contains.

    ``packages`` are distributions, by name, with their versions: each is installed as a module of that name, any
    function of which gives its first argument back. ``upgraded`` has the versions after the edit. ``params`` are given
    to the second run; the first has the pipeline's defaults.
    """

    name: str
    files: Mapping[str, str]
    edits: Mapping[str, str | None]
    expect: str
    changed: tuple[str, str] | None = None
    step: str = "fit"
    params: Mapping[str, object] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    upgraded: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
