from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.server.layout import GAP_Y, HEIGHT, WIDTH, Edge, crossings, drawing


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, tuple[Edge, ...]]:
    count = draw(st.integers(0, 24))
    pairs = [Edge(a, b) for a, b in itertools.combinations(range(count), 2)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=40, unique=True)) if pairs else []
    order = draw(st.permutations(range(count)))
    return count, tuple(Edge(order[a], order[b]) for a, b in edges)


@settings(deadline=None)
@given(graphs())
def test_nodes_do_not_overlap_and_edges_go_down(graph: tuple[int, tuple[Edge, ...]]) -> None:
    count, edges = graph
    drawn = drawing(count, edges)
    assert len(drawn.places) == count
    assert len(drawn.paths) == len(edges)
    for (x, y), (other_x, other_y) in itertools.combinations(drawn.places, 2):
        assert y != other_y or abs(x - other_x) >= WIDTH
    for source, target in edges:
        assert drawn.places[target][1] - drawn.places[source][1] >= HEIGHT + GAP_Y
    for x, y in drawn.places:
        assert 0 <= x <= drawn.width - WIDTH + 0.2
        assert 0 <= y <= drawn.height - HEIGHT


@settings(deadline=None)
@given(graphs())
def test_an_edge_begins_under_its_source_and_ends_on_its_target(graph: tuple[int, tuple[Edge, ...]]) -> None:
    count, edges = graph
    drawn = drawing(count, edges)
    for (source, target), path in zip(edges, drawn.paths, strict=True):
        x, y = map(float, path[1:].partition("C")[0].split())
        assert abs(x - drawn.places[source][0] - WIDTH / 2) < 0.2
        assert y == drawn.places[source][1] + HEIGHT
        *_, end_x, end_y = path.replace("C", " ").replace("V", " ").split()
        assert abs(float(end_x) - drawn.places[target][0] - WIDTH / 2) < 0.2
        assert float(end_y) == drawn.places[target][1]


def test_it_is_the_same_every_time() -> None:
    edges = (Edge(0, 1), Edge(0, 2), Edge(1, 3), Edge(2, 3), Edge(0, 3))
    drawing.cache_clear()
    first = drawing(4, edges)
    drawing.cache_clear()
    assert drawing(4, edges) == first


def test_a_chain_is_straight_and_a_tree_does_not_cross() -> None:
    chain = drawing(5, tuple(Edge(i, i + 1) for i in range(4)))
    assert len({x for x, _ in chain.places}) == 1
    tree = drawing(7, (Edge(0, 1), Edge(0, 2), Edge(1, 6), Edge(2, 3), Edge(2, 4), Edge(1, 5)))
    rows: dict[int, list[int]] = {}
    for node in sorted(range(7), key=lambda node: tree.places[node][0]):
        rows.setdefault(tree.layers[node], []).append(node)
    down = {0: [1, 2], 1: [5, 6], 2: [3, 4], 3: [], 4: [], 5: [], 6: []}
    assert crossings([rows[i] for i in sorted(rows)], down) == 0


def test_crossings_are_counted() -> None:
    assert crossings([[0, 1], [2, 3]], {0: [3], 1: [2], 2: [], 3: []}) == 1
    assert crossings([[0, 1], [2, 3]], {0: [2, 3], 1: [2, 3], 2: [], 3: []}) == 1


def test_a_cycle_is_refused() -> None:
    with pytest.raises(ValueError, match="cycles"):
        drawing(2, (Edge(0, 1), Edge(1, 0)))
