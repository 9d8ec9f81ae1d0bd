"""What becomes of text on its way to a page: consoles by offset, colours, durations."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_pipelines.server import templating
from hpo_pipelines.server.ansi import to_html
from hpo_pipelines.server.consoles import ConsoleFiles
from hpo_pipelines.server.plainjson import to_bytes, to_text


def files(folder: Path, *contents: bytes) -> ConsoleFiles:
    paths = [folder / f"{i}.log" for i in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return ConsoleFiles([*paths, folder / "absent.log"])


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=40), max_size=30), st.data())
def test_reading_on_gives_every_line_once(lines: list[str], data: st.DataObject) -> None:
    text = "".join(f"{line}\n" for line in lines)
    content = text.encode()
    cut = data.draw(st.integers(0, len(content)))
    limit = data.draw(st.integers(200, 400))
    with tempfile.TemporaryDirectory() as folder:
        console = files(Path(folder), content[:cut], content[cut:])
        offset, found = 0, ""
        while offset < console.size:
            part = console.part(offset, limit=limit)
            assert part.end > offset
            offset, found = part.end, found + part.text
        assert found == text
        start, found = console.size, ""
        while start > 0:
            part = console.part(before=start, limit=limit)
            assert part.start < start
            assert part.end == start
            start, found = part.start, part.text + found
        assert found == text


def test_a_line_that_is_being_written_waits_until_it_is_whole(tmp_path: Path) -> None:
    console = files(tmp_path, b"one\ntw")
    part = console.part(0, whole=False)
    assert (part.text, part.end) == ("one\n", 4)
    assert console.part(4, whole=False).text == ""
    assert console.part(4, whole=True).text == "tw"


def test_a_line_longer_than_any_part_still_comes(tmp_path: Path) -> None:
    console = files(tmp_path, b"x" * 5000 + b"\nend\n")
    offset, text = 0, ""
    while offset < console.size:
        part = console.part(offset, limit=1000, whole=False)
        assert part.end > offset
        offset, text = part.end, text + part.text
    assert text == "x" * 5000 + "\nend\n"


def test_a_progress_bar_is_its_last_frame(tmp_path: Path) -> None:
    assert files(tmp_path, b"0%\r50%\r100%\ndone\r\n").part(0).text == "100%\ndone\n"


def test_the_end_of_a_long_console_costs_its_end(tmp_path: Path) -> None:
    path = tmp_path / "long.log"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole: nobody could read it whole
        file.seek(0, 2)
        file.write(b"\nthe last line\n")
    part = ConsoleFiles([path]).part()
    assert part.text.splitlines()[-1] == "the last line"
    assert part.size - part.start <= 64 * 1024


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("\x1b[31mred\x1b[0m.", '<span class="a-red">red</span>.'),
        ("\x1b[1;32mok\x1b[39m!\x1b[0m", '<span class="a-bold a-green">ok</span><span class="a-bold">!</span>'),
        ("\x1b[38;5;9mr\x1b[m", '<span class="a-red">r</span>'),
        ("\x1b[38;2;1;2;3mx", "x"),
        ("\x1b[2K\x1b[1Aup\x1b]0;title\x07", "up"),
        ('\x1b[31m"><script>', '<span class="a-red">&quot;&gt;&lt;script&gt;</span>'),
        ("a\x00b\x08", "ab"),
    ],
)
def test_terminal_colours_become_classes(text: str, html: str) -> None:
    assert to_html(text) == html


@settings(deadline=None)
@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    html = to_html(text)
    assert "<script" not in html
    assert html.replace("<span class=", "").replace("</span>", "").count("<") == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0.0s"), (0.085, "85ms"), (1.44, "1.4s"), (12.3, "12s"), (292, "4m 52s"), (3900, "1h 05m"),
     (2 * 86400 + 3 * 3600, "2d 3h")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert templating.duration(seconds) == text


def test_json_has_words_for_everything() -> None:
    value = {"nan": float("nan"), "inf": [float("inf"), -float("inf")], 3: (1, "é")}
    assert to_text(value) == '{"nan":"NaN","inf":["Infinity","-Infinity"],"3":[1,"é"]}'
    assert to_bytes("\ud800") == b'"\\ud800"'
