"""Pipelines inside pipelines that use what the body around them has not finished yet."""

from __future__ import annotations

from pathlib import Path

from hpo_pipelines import component, pipeline


@component
def plus(x: int, y: int = 1) -> int:
    return x + y


@component(cache=False)
def held(gate: str, x: int) -> int:
    """Gives ``x`` as soon as the file ``gate`` is there; fails where that says so."""
    from samples.bodies import waits

    waits(gate, x)
    if Path(gate).read_text() == "fail":
        raise ValueError("told to fail")
    return x


@pipeline(project="samples")
def around(gate: str, say: str = "go on", x: int = 1) -> int:
    """The run inside is called, and calls its step, before the step that it waits for can end."""
    base = held(gate, x)

    @pipeline(project="samples")
    def within() -> int:
        more = plus(base, 10)
        if not Path(gate).exists():
            Path(gate).write_text(say)
        return plus(more, 100)

    return plus(within(), 1000)


@pipeline(project="samples")
def catching(gate: str, x: int = 1) -> str:
    base = held(gate, x)

    @pipeline(project="samples")
    def within() -> str:
        more = plus(base, 10)
        Path(gate).write_text("fail")
        try:
            return f"gave {more}"
        except ValueError as error:
            return f"caught {error}"

    return within()


@pipeline(project="samples")
def stopping(gate: str, x: int = 1) -> int:
    """The run inside waits for a step that never ends by itself."""
    base = held(gate, x)

    @pipeline(project="samples")
    def within() -> int:
        return plus(base, 10)

    return within()
