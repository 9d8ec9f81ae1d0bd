"""Which outcomes to give up: the laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.cache import choose
from hpo_pipelines.store import Holding

DIGESTS = "abcdefgh"
some = st.frozensets(st.sampled_from(DIGESTS), max_size=4)
holdings = st.lists(st.tuples(some, st.integers(0, 9)), max_size=8).map(
    lambda drawn: [Holding(f"h{n}", digests, float(used)) for n, (digests, used) in enumerate(drawn)]
)
sizes = st.dictionaries(st.sampled_from(DIGESTS), st.integers(1, 20))


def left(given_: list[Holding], chosen: list[Holding], sizes: dict[str, int], kept: frozenset[str]) -> int:
    gone = {holding.id for holding in chosen}
    needed = set(kept).union(*(holding.digests for holding in given_ if holding.id not in gone))
    return sum(size for digest, size in sizes.items() if digest in needed)


@given(holdings, sizes, some, st.integers(0, 10))
def test_law_what_is_old_goes_and_nothing_else(
    given_: list[Holding], sizes: dict[str, int], kept: frozenset[str], before: int
) -> None:
    chosen = choose(given_, sizes, kept, before=float(before))
    assert {holding.id for holding in chosen} == {holding.id for holding in given_ if holding.used_at < before}
    assert chosen == sorted(chosen, key=lambda holding: (holding.used_at, holding.id))
    assert choose(given_, sizes, kept) == []


@given(holdings, sizes, some, st.integers(0, 60), st.none() | st.integers(0, 10))
def test_law_the_limit_is_kept_where_it_can_be_by_giving_up_no_more_than_it_takes(
    given_: list[Holding], sizes: dict[str, int], kept: frozenset[str], limit: int, before: int | None
) -> None:
    age = None if before is None else float(before)
    old = choose(given_, sizes, kept, before=age)
    chosen = choose(given_, sizes, kept, before=age, limit=limit)
    assert chosen[: len(old)] == old
    more = chosen[len(old) :]
    gone = {holding.id for holding in chosen}

    def could_go(holding: Holding) -> bool:
        return any(digest in sizes and digest not in kept for digest in holding.digests)

    assert all(could_go(holding) for holding in more)
    if left(given_, chosen, sizes, kept) > limit:
        assert not [holding for holding in given_ if holding.id not in gone and could_go(holding)]
    for index in range(len(more)):
        assert left(given_, [*old, *more[:index]], sizes, kept) > limit, "it had been enough before"
    if more:
        last = (more[-1].used_at, more[-1].id)
        assert all((h.used_at, h.id) > last for h in given_ if h.id not in gone and could_go(h)), "newer ones stay"


def test_files_that_others_need_free_nothing_until_the_last_goes() -> None:
    one, two, three = Holding("1", frozenset("a"), 1), Holding("2", frozenset("ab"), 2), Holding("3", frozenset("c"), 3)
    size = {"a": 10, "b": 10, "c": 10}
    assert choose([three, two, one], size, (), limit=30) == []
    assert choose([three, two, one], size, (), limit=20) == [one, two]
    assert choose([three, two, one], size, "a", limit=20) == [two]
    assert choose([three, two, one], size, "ab", limit=0) == [three]
