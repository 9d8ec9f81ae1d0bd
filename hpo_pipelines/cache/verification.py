"""``hpo cache verify``: read the bytes of every artifact again, and compare them with their digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.errors import ArtifactCorrupt, ArtifactError, ArtifactMissing, TaskNotFound
from hpo_pipelines.store import Store
from hpo_pipelines.types import ArtifactRef

_NAMED = 10


@dataclass(frozen=True)
class Damage:
    """An artifact whose bytes are not what was written: ``error`` is ArtifactMissing or ArtifactCorrupt.

    ``outcomes`` are the keys of those that it is part of; ``holders`` are outputs that are it (``churn#48/fit.value``),
    the first ten of ``held`` in all. ``lasting`` says that something else than an outcome needs it, which forgetting
    outcomes does not help: what a run returned, an output of a run that is not over, code, or the database itself,
    where small artifacts are.
    """

    ref: ArtifactRef
    error: ArtifactError
    outcomes: tuple[str, ...]
    holders: tuple[str, ...]
    held: int
    lasting: bool

    @property
    def missing(self) -> bool:
        return isinstance(self.error, ArtifactMissing)


@dataclass
class Verified:
    """How many artifacts were read, of how many bytes; ``gone`` are files that nobody needs any more, long swept."""

    artifacts: int = 0
    size: int = 0
    gone: int = 0
    damages: list[Damage] = field(default_factory=list)


def verify(
    store: Store, artifacts: ArtifactStore, *, seen: Callable[[ArtifactRef], None] = lambda ref: None
) -> Verified:
    """Read every recorded artifact. ``seen`` is called with each when it has been read, for whoever shows progress.

    A missing file counts as damage where an outcome, what a run returned, a run that is not over, or code needs it.
    Raises ArtifactError when the place cannot be reached.
    """
    outcomes: dict[str, list[str]] = {}
    for outcome in store.holdings.outcomes():
        for digest in outcome.digests:
            outcomes.setdefault(digest, []).append(outcome.id)
    needed, _ = store.holdings.tasks()
    lasting = store.holdings.code().union(*(holding.digests for holding in needed))
    found = Verified()
    for ref in _distinct(store):
        error = _problem(artifacts, ref)
        if isinstance(error, ArtifactMissing) and ref.digest not in lasting and ref.digest not in outcomes:
            found.gone += 1
        elif error is not None:
            held = store.artifacts.holders(ref.digest)
            names = tuple(_label(store, task, name) for task, name in held[:_NAMED])
            keys = tuple(outcomes.get(ref.digest, ()))
            stays = ref.digest in lasting or ref.inline is not None
            found.damages.append(Damage(ref, error, keys, names, len(held), stays))
        if not isinstance(error, ArtifactMissing):
            found.artifacts += 1
            found.size += ref.size
        seen(ref)
    return found


def repair(store: Store, artifacts: ArtifactStore, damages: list[Damage]) -> tuple[int, int]:
    """Forget the outcomes that are damaged, and remove bytes that are: how many of each.

    Steps that would have reused them run again, and write the bytes anew. What is whole again by now stays.
    """
    forgotten = removed = 0
    for damage in damages:
        error = _problem(artifacts, damage.ref)
        if error is None:
            continue
        forgotten += store.cache.forget(*damage.outcomes)
        if isinstance(error, ArtifactCorrupt) and damage.ref.inline is None:
            # Else the next writer of this content would take the file for its own.
            artifacts.delete(damage.ref)
            removed += 1
    return forgotten, removed


def _distinct(store: Store) -> Iterator[ArtifactRef]:
    """Every artifact, once for each way in which its bytes are read."""
    seen: set[tuple[str, str]] = set()
    page = store.artifacts.page()
    while page:
        for ref in page:
            if (ref.digest, ref.format) not in seen:
                seen.add((ref.digest, ref.format))
                yield ref
        seen = {each for each in seen if each[0] == page[-1].digest}
        page = store.artifacts.page(page[-1])


def _problem(artifacts: ArtifactStore, ref: ArtifactRef) -> ArtifactMissing | ArtifactCorrupt | None:
    try:
        artifacts.verify(ref)
    except (ArtifactMissing, ArtifactCorrupt) as error:
        return error
    return None


def _label(store: Store, task_id: str, output: str) -> str:
    """``churn#48/fit.value``"""
    try:
        task = store.tasks.get(task_id)
        around = f"{store.tasks.get(task.parent).label}/" if task.parent else ""
    except TaskNotFound:  # deleted while we looked
        return f"{task_id}.{output}"
    return f"{around}{task.label}.{output}"
