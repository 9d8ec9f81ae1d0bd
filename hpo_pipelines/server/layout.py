"""Where the nodes of a step graph stand: layered drawing after Sugiyama, Tagawa and Toda (1981).

Layers by longest path; dummy nodes where an edge passes a layer; order within layers by barycentres (Barth, Jünger,
Mutzel 2002 count the crossings); x by Brandes and Köpf (2001). Deterministic, and on the server: every trial of a study
has the same graph, and is laid out once (docs/decisions/0007 has the measurements).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 196.0, 50.0
"""Of a node, in CSS pixels."""
GAP_X, GAP_Y = 28.0, 38.0
_DUMMY_WIDTH = 12.0
_SWEEPS = 12

Node = int
Neighbours = Mapping[Node, Sequence[Node]]


class Edge(NamedTuple):
    """From the node at index ``source`` to that at ``target``."""

    source: int
    target: int


@dataclass(frozen=True)
class Drawing:
    """``places`` are the upper left corners of the nodes, ``paths`` the SVG paths of the edges, in the given orders."""

    places: tuple[tuple[float, float], ...]
    paths: tuple[str, ...]
    width: float
    height: float
    layers: tuple[int, ...]
    """The row of each node, 0 on top."""


@lru_cache(maxsize=256)
def drawing(count: int, edges: tuple[Edge, ...]) -> Drawing:
    """The drawing of ``count`` nodes. Raises ValueError for a cycle."""
    unique = tuple(dict.fromkeys(edges))
    parents, children = _neighbours(range(count), unique)
    layer = _layers(count, parents, children)
    rows, chains = _with_dummies(count, layer, unique)
    up, down = _chained(rows, chains)
    rows = _ordered(rows, up, down)
    x = _centres(rows, up, down, lambda node: WIDTH if node < count else _DUMMY_WIDTH)
    left = min((x[node] - WIDTH / 2 for node in range(count)), default=0.0)
    left = min([left, *(x[node] for row in rows for node in row)], default=0.0)
    y = {node: i * (HEIGHT + GAP_Y) for i, row in enumerate(rows) for node in row}
    right = max((x[node] - left + (WIDTH / 2 if node < count else 0) for row in rows for node in row), default=0.0)
    paths = {edge: _path([(x[node] - left, y[node]) for node in chain]) for edge, chain in chains.items()}
    return Drawing(
        places=tuple((round(x[node] - left - WIDTH / 2, 1), y[node]) for node in range(count)),
        paths=tuple(paths[edge] for edge in edges),
        width=round(right, 1),
        height=len(rows) * (HEIGHT + GAP_Y) - GAP_Y if rows else 0.0,
        layers=tuple(layer),
    )


def _neighbours(nodes: Sequence[Node], edges: Sequence[Edge]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    parents: dict[Node, list[Node]] = {node: [] for node in nodes}
    children: dict[Node, list[Node]] = {node: [] for node in nodes}
    for source, target in edges:
        parents[target].append(source)
        children[source].append(target)
    return parents, children


def _layers(count: int, parents: Neighbours, children: Neighbours) -> list[int]:
    """Longest path from the sources; then sources sink to the row above their first child."""
    waiting = [len(parents[node]) for node in range(count)]
    order = [node for node in range(count) if not waiting[node]]
    layer = [0] * count
    for node in order:
        layer[node] = max((layer[parent] + 1 for parent in parents[node]), default=0)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    if len(order) != count:
        raise ValueError("a graph of steps has no cycles, and this one has.")
    for node in reversed(order):
        if not parents[node] and children[node]:
            layer[node] = min(layer[child] for child in children[node]) - 1
    return layer


def _with_dummies(
    count: int, layer: Sequence[int], edges: Sequence[Edge]
) -> tuple[list[list[Node]], dict[Edge, list[Node]]]:
    """The rows, with a dummy in each row that an edge passes, and of each edge the nodes that it leads through."""
    rows: list[list[Node]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for node in range(count):
        rows[layer[node]].append(node)
    chains: dict[Edge, list[Node]] = {}
    fresh = count
    for edge in edges:
        chain = [edge.source]
        for row in range(layer[edge.source] + 1, layer[edge.target]):
            rows[row].append(fresh)
            chain.append(fresh)
            fresh += 1
        chains[edge] = [*chain, edge.target]
    return rows, chains


def _chained(
    rows: Sequence[Sequence[Node]], chains: Mapping[Edge, Sequence[Node]]
) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    links = [Edge(a, b) for chain in chains.values() for a, b in pairwise(chain)]
    return _neighbours([node for row in rows for node in row], links)


# -- the order within rows


def crossings(rows: Sequence[Sequence[Node]], down: Neighbours) -> int:
    """How many edges cross between neighbouring rows, in O(E log V) with a Fenwick tree."""
    return sum(_crossings(row, below, down) for row, below in pairwise(rows))


def _crossings(row: Sequence[Node], below: Sequence[Node], down: Neighbours) -> int:
    place = {node: i for i, node in enumerate(below)}
    tree = [0] * (len(below) + 1)
    total = seen = 0
    for node in row:
        ends = sorted(place[child] for child in down[node])
        for end in ends:
            index, before = end + 1, 0
            while index:
                before += tree[index]
                index -= index & -index
            total += seen - before
        for end in ends:
            seen += 1
            index = end + 1
            while index <= len(below):
                tree[index] += 1
                index += index & -index
    return total


def _ordered(rows: list[list[Node]], up: Neighbours, down: Neighbours) -> list[list[Node]]:
    """The rows in the best order that some sweeps of barycentres find."""
    best, fewest = [list(row) for row in rows], crossings(rows, down)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        near = up if downwards else down
        for i in range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1):
            rows[i] = _by_barycentre(rows[i], rows[i - 1 if downwards else i + 1], near)
        found = crossings(rows, down)
        if found < fewest:
            best, fewest = [list(row) for row in rows], found
    return best


def _by_barycentre(row: Sequence[Node], fixed: Sequence[Node], near: Neighbours) -> list[Node]:
    place = {node: i for i, node in enumerate(fixed)}

    def key(item: tuple[int, Node]) -> tuple[float, int]:
        index, node = item
        places = [place[other] for other in near[node]]
        return (sum(places) / len(places) if places else index, index)

    return [node for _, node in sorted(enumerate(row), key=key)]


# -- x


def _centres(
    rows: Sequence[Sequence[Node]], up: Neighbours, down: Neighbours, width: Callable[[Node], float]
) -> dict[Node, float]:
    """The mean of the two middle ones of four alignments: to the parents and the children, from left and right."""
    found: list[dict[Node, float]] = []
    for vertical, near in ((rows, up), (list(reversed(rows)), down)):
        for mirrored in (False, True):
            layers = [list(reversed(row)) if mirrored else list(row) for row in vertical]
            x = _compacted(layers, *_aligned(layers, near), width)
            found.append({node: -value for node, value in x.items()} if mirrored else x)
    if not found[0]:
        return {}
    spans = [max(x.values()) - min(x.values()) for x in found]
    narrow = found[spans.index(min(spans))]
    for i, x in enumerate(found):
        end = max if i % 2 else min
        shift = end(narrow.values()) - end(x.values())
        found[i] = {node: value + shift for node, value in x.items()}
    middles = {node: sorted(x[node] for x in found) for node in found[0]}
    return {node: (values[1] + values[2]) / 2 for node, values in middles.items()}


def _aligned(layers: Sequence[Sequence[Node]], near: Neighbours) -> tuple[dict[Node, Node], list[list[Node]]]:
    """The root of each node's block, and the blocks: nodes that stand above each other."""
    place = {node: i for row in layers for i, node in enumerate(row)}
    root = {node: node for row in layers for node in row}
    align = dict(root)
    for row in layers[1:]:
        last = -1
        for node in row:
            others = sorted(near[node], key=place.__getitem__)
            for middle in sorted({(len(others) - 1) // 2, len(others) // 2}) if others else ():
                other = others[middle]
                if align[node] == node and last < place[other]:
                    align[other], root[node] = node, root[other]
                    align[node] = root[node]
                    last = place[other]
    blocks: dict[Node, list[Node]] = {}
    for row in layers:
        for node in row:
            blocks.setdefault(root[node], []).append(node)
    return root, list(blocks.values())


def _compacted(
    layers: Sequence[Sequence[Node]],
    root: Mapping[Node, Node],
    blocks: Sequence[Sequence[Node]],
    width: Callable[[Node], float],
) -> dict[Node, float]:
    """The leftmost x of each node at which its block overlaps none on its left."""
    left = {b: a for row in layers for a, b in pairwise(row)}
    members = {root[block[0]]: block for block in blocks}
    x: dict[Node, float] = {}
    for start in members:
        stack, waited = [start], set()
        while stack:
            block = stack[-1]
            beside = [node for node in members[block] if node in left] if block not in x else []
            missing = [root[left[node]] for node in beside if root[left[node]] not in x]
            if missing and block not in waited:
                waited.add(block)
                stack += missing
                continue
            if block not in x:
                gaps = [(node, left[node]) for node in beside]
                x[block] = max((x.get(root[b], 0.0) + (width(a) + width(b)) / 2 + GAP_X for a, b in gaps), default=0.0)
            stack.pop()
    return {node: x[root[node]] for row in layers for node in row}


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A smooth line through ``points``, from the lower side of the first node to the upper side of the last."""
    (x0, y0), *rest = points
    y0 += HEIGHT
    path = f"M{x0:.1f} {y0:.1f}"
    for x1, y1 in rest:
        # It bends between the rows only: beside nodes it is straight, and stays clear of them.
        middle = (y0 + y1) / 2
        path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
        x0, y0 = x1, y1 + HEIGHT
        path += f"V{y0:.1f}" if (x1, y1) != rest[-1] else ""
    return path
