"""Draws the diagrams of docs/: docs/images/flow.svg, sharing.svg, durability.svg and parts.svg.

    .venv/bin/python scripts/diagrams.py

They are drawn here rather than by a script in the reader's browser, which would have to be fetched from somewhere. A
test compares them with what is drawn.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
COLUMN, ROW, HEIGHT, MARGIN = 150, 84, 46, 20
FILLS = {
    "plain": ("#ffffff", "#64748b"),
    "ran": ("#dcfce7", "#15803d"),
    "reused": ("#e0e7ff", "#4338ca"),
    "waits": ("#fef9c3", "#a16207"),
    "lost": ("#fee2e2", "#b91c1c"),
    "kept": ("#f1f5f9", "#334155"),
}
"""Fill and line of a box, by what it says."""


@dataclass(frozen=True)
class Box:
    """One box: its place in columns and rows, its lines of text, what it says by its colour, its width in columns."""

    column: float
    row: float
    text: str
    kind: str = "plain"
    width: float = 0.8

    @property
    def centre(self) -> tuple[float, float]:
        return MARGIN + (self.column + 0.5) * COLUMN, MARGIN + (self.row + 0.5) * ROW

    @property
    def height(self) -> float:
        return max(HEIGHT, 17 * len(self.text.split("\n")) + 10)

    def edge(self, towards: tuple[float, float]) -> tuple[float, float]:
        """Where the line from its centre ``towards`` a point leaves it."""
        x, y = self.centre
        dx, dy = towards[0] - x, towards[1] - y
        half_x, half_y = self.width * COLUMN / 2 + 2, self.height / 2 + 2
        share = min(half_x / abs(dx) if dx else math.inf, half_y / abs(dy) if dy else math.inf)
        return x + dx * share, y + dy * share


@dataclass(frozen=True)
class Diagram:
    """Boxes by name; arrows from one to another, with a text or none; and texts at places."""

    boxes: Mapping[str, Box]
    arrows: Sequence[tuple[str, str, str]]
    texts: Sequence[tuple[float, float, str]] = field(default_factory=tuple)


DIAGRAMS: Mapping[str, Diagram] = {
    "flow": Diagram(
        {
            "body": Box(0, 1, "the body\nplain Python", "kept"),
            "load": Box(1.2, 0, "load(seed)"),
            "fit": Box(1.2, 1, "fit(x, rate)"),
            "score": Box(1.2, 2, "evaluate(model)"),
            "key": Box(2.5, 1, "key\ncode · packages\ninputs · environment", "kept", 1.0),
            "reused": Box(4, 0, "known: taken", "reused"),
            "waits": Box(4, 1, "being computed:\nwaited for", "waits", 0.9),
            "ran": Box(4, 2, "new: runs", "ran"),
            "record": Box(5.3, 1, "outcome\noutputs + metrics", "kept", 0.95),
        },
        [
            ("body", "load", "calls"),
            ("body", "fit", ""),
            ("body", "score", ""),
            ("load", "fit", ""),
            ("fit", "score", ""),
            ("load", "key", ""),
            ("fit", "key", ""),
            ("score", "key", ""),
            ("key", "reused", ""),
            ("key", "waits", ""),
            ("key", "ran", ""),
            ("reused", "record", ""),
            ("waits", "record", ""),
            ("ran", "record", ""),
        ],
    ),
    "sharing": Diagram(
        {
            "load": Box(1, 0.5, "load", "ran"),
            "expand3": Box(2.2, 0, "expand\ndegree 3", "ran"),
            "fit1": Box(3.4, 0, "fit\nrate 0.1", "ran"),
            "eval1": Box(4.6, 0, "evaluate", "ran"),
            "load2": Box(1, 2, "load", "reused"),
            "expand2": Box(2.2, 2, "expand\ndegree 3", "reused"),
            "fit2": Box(3.4, 2, "fit\nrate 3.0", "ran"),
            "eval2": Box(4.6, 2, "evaluate", "ran"),
            "expand5": Box(2.2, 1, "expand\ndegree 5", "ran"),
            "fit3": Box(3.4, 1, "fit\nrate 0.1", "ran"),
            "eval3": Box(4.6, 1, "evaluate", "ran"),
        },
        [
            ("load", "expand3", ""),
            ("expand3", "fit1", ""),
            ("fit1", "eval1", ""),
            ("load2", "expand2", ""),
            ("expand2", "fit2", ""),
            ("fit2", "eval2", ""),
            ("load", "expand5", ""),
            ("expand5", "fit3", ""),
            ("fit3", "eval3", ""),
            ("load", "load2", "reused"),
        ],
        [(0, 0, "trial 1"), (0, 1, "trial 2"), (0, 2, "trial 3")],
    ),
    "durability": Diagram(
        {
            "a1": Box(1, 0, "load", "ran"),
            "b1": Box(2, 0, "expand", "ran"),
            "c1": Box(3, 0, "fit", "lost"),
            "j1": Box(1, 1, "completed", "kept"),
            "j2": Box(2, 1, "completed", "kept"),
            "j3": Box(3, 1, "running", "kept"),
            "a2": Box(1, 2, "load", "reused"),
            "b2": Box(2, 2, "expand", "reused"),
            "c2": Box(3, 2, "fit", "ran"),
            "d2": Box(4, 2, "evaluate", "ran"),
        },
        [
            ("a1", "b1", ""),
            ("b1", "c1", ""),
            ("a1", "j1", ""),
            ("b1", "j2", ""),
            ("c1", "j3", ""),
            ("j1", "a2", ""),
            ("j2", "b2", ""),
            ("a2", "b2", ""),
            ("b2", "c2", ""),
            ("c2", "d2", ""),
        ],
        [(0, 0, "first time"), (0, 1, "journal"), (0, 2, "resumed"), (3.75, 0, "kill -9")],
    ),
    "parts": Diagram(
        {
            "you": Box(0, 0, "you\nPython, hpo", "plain"),
            "up": Box(0, 1, "hpo up\npages, REST", "plain"),
            "agent": Box(0, 2, "hpo agent", "plain"),
            "store": Box(2, 0.5, "store\nSQLite, PostgreSQL", "kept", 1.0),
            "mlflow": Box(4, 0.5, "MLflow\nfollows", "plain"),
            "workers": Box(2, 2, "workers\nlocal, or Ray", "ran", 1.0),
            "artifacts": Box(4, 2, "artifacts\nfolder, or bucket", "kept", 1.0),
        },
        [
            ("you", "store", "runs"),
            ("up", "store", ""),
            ("agent", "store", "takes runs"),
            ("store", "mlflow", "events"),
            ("agent", "workers", "steps"),
            ("workers", "artifacts", "outputs"),
        ],
    ),
}


def drawn(diagram: Diagram) -> str:
    """``diagram`` as SVG, on a ground of its own so that it can be read on a dark page, too."""
    right = max([box.column + box.width / 2 + 0.5 for box in diagram.boxes.values()])
    bottom = max(box.row for box in diagram.boxes.values()) + 1
    width, height = round(2 * MARGIN + right * COLUMN), round(2 * MARGIN + bottom * ROW)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#64748b"/></marker></defs>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#fbfcfe"/>',
    ]
    for source, target, text in diagram.arrows:
        lines += arrow(diagram.boxes[source], diagram.boxes[target], text)
    for box in diagram.boxes.values():
        lines += outlined(box)
    for column, row, text in diagram.texts:
        x, y = Box(column, row, "").centre
        lines.append(f'<text x="{x:.0f}" y="{y + 4:.0f}" text-anchor="middle" fill="#334155">{escape(text)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def arrow(source: Box, target: Box, text: str) -> list[str]:
    x1, y1 = source.edge(target.centre)
    x2, y2 = target.edge(source.centre)
    lines = [
        f'<path d="M{x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}" stroke="#64748b" fill="none" marker-end="url(#tip)"/>',
    ]
    if text:
        place = f'x="{(x1 + x2) / 2:.0f}" y="{(y1 + y2) / 2 - 5:.0f}" text-anchor="middle" font-size="11"'
        halo = 'stroke="#fbfcfe" stroke-width="4" paint-order="stroke"'
        lines.append(f'<text {place} {halo} fill="#475569">{escape(text)}</text>')
    return lines


def outlined(box: Box) -> list[str]:
    x, y = box.centre
    width, (fill, line) = box.width * COLUMN, FILLS[box.kind]
    texts = box.text.split("\n")
    place = f'x="{x - width / 2:.0f}" y="{y - box.height / 2:.0f}" width="{width:.0f}" height="{box.height}"'
    lines = [f'<rect {place} rx="7" fill="{fill}" stroke="{line}"/>']
    for index, text in enumerate(texts):
        top = y + 4.5 + 16 * (index - (len(texts) - 1) / 2)
        size = "" if index == 0 else ' font-size="11"'
        lines.append(f'<text x="{x:.0f}" y="{top:.0f}" text-anchor="middle"{size} fill="#0f172a">{escape(text)}</text>')
    return lines


def main() -> int:
    for name, diagram in DIAGRAMS.items():
        path = IMAGES / f"{name}.svg"
        path.write_text(drawn(diagram), "utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
