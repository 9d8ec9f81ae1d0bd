"""``hpo logs``, and following consoles while they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli.conftest import Hpo

from hpo_pipelines.cli.logs import followed
from hpo_pipelines.progress import collapsed


def test_of_a_run_every_line_after_the_name_of_its_step(hpo: Hpo, recorded: Path) -> None:
    printed = hpo("logs", "loud#1")
    assert printed.code == 0
    assert printed.out.splitlines() == ["body | controller 5", "noisy | out 5", "noisy | err 5"]


@pytest.mark.parametrize("reference", [["loud#1/noisy"], ["loud#1", "noisy"], ["loud", "noisy", "--attempt", "1"]])
def test_of_a_step_as_it_stands(hpo: Hpo, recorded: Path, reference: list[str]) -> None:
    assert hpo("logs", *reference).out == "out 5\nerr 5\n"


def test_of_the_body_alone(hpo: Hpo, recorded: Path) -> None:
    assert hpo("logs", "loud#1", "--body").out == "controller 5\n"
    assert hpo("logs", "simple#1").out == ""


def test_following_what_has_ended_ends(hpo: Hpo, recorded: Path) -> None:
    assert hpo("logs", "-f", "loud#1").out == hpo("logs", "loud#1").out


def test_of_runs_inside_a_run(hpo: Hpo, home: Path, tmp_path: Path) -> None:
    (tmp_path / "nesting_logs.py").write_text(
        "from hpo_pipelines import component, pipeline\n"
        "@component\ndef say(x: int):\n    print('said', x)\n"
        "@pipeline\ndef inner():\n    print('inside'); say(1)\n"
        "@pipeline\ndef around():\n    print('around'); inner()\n"
    )
    hpo("run", f"{tmp_path}/nesting_logs.py:around")
    lines = hpo("logs", "around").out.splitlines()
    assert lines == ["body | around", "inner/body | inside", "inner/say | said 1"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["loud#1", "nosy"], 7, "did you mean 'noisy'?"),
        (["loud#9"], 7, "The latest: samples/loud#1"),
        (["loud#1/noisy", "--attempt", "2"], 7, "has no attempt 2; it has 1."),
        (["loud#1", "--attempt", "1"], 2, "name one, as RUN/STEP"),
        (["loud#1/noisy", "--body"], 2, "leave the step out"),
        (["xs"], 7, "is a study"),
    ],
)
def test_what_is_not_there(hpo: Hpo, recorded: Path, arguments: list[str], code: int, said: str) -> None:
    refused = hpo("logs", *arguments)
    assert refused.code == code
    assert said in refused.err


# -- following


class Growing:
    """Console files that grow while they are followed: each look at whether all has ended writes the next piece."""

    def __init__(self, folder: Path, pieces: list[tuple[str, bytes]]) -> None:
        self.folder = folder
        self._pieces = iter(pieces)
        self._names: list[str] = []

    def consoles(self) -> list[tuple[str, Path]]:
        return [(name, self.folder / name) for name in self._names]

    def ended(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return True
        name, data = piece
        if name not in self._names:
            self._names.append(name)
        with (self.folder / name).open("ab") as file:
            file.write(data)
        return False


def texts(growing: Growing, *, raw: bool = False) -> list[tuple[str, str]]:
    return list(followed(growing.consoles, growing.ended, raw=raw))


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_pipelines.cli.logs.POLL_SECONDS", 0.0)


def test_lines_come_whole_and_once(tmp_path: Path) -> None:
    growing = Growing(tmp_path, [("a", b"one\ntw"), ("b", b"other\n"), ("a", b"o\nthree"), ("a", b"")])
    assert texts(growing) == [("a", "one\n"), ("b", "other\n"), ("a", "two\n"), ("a", "three\n")]


def test_letters_that_are_written_in_halves(tmp_path: Path) -> None:
    growing = Growing(tmp_path, [("a", "é".encode()[:1]), ("a", "é".encode()[1:] + b"\n"), ("a", b"\xff\n")])
    assert "".join(text for _, text in texts(growing)) == "é\n�\n"


def test_progress_bars_are_reduced_to_their_last_frame_wherever_they_are_cut(tmp_path: Path) -> None:
    growing = Growing(tmp_path, [("a", b"\r 10%\r 5"), ("a", b"0%\r100"), ("a", b"%\ndone\r\n")])
    assert "".join(text for _, text in texts(growing)) == "100%\ndone\n"


def test_raw_gives_every_byte_at_once(tmp_path: Path) -> None:
    growing = Growing(tmp_path, [("a", b"\r 10%"), ("a", b"\r100%\n")])
    assert texts(growing, raw=True) == [("a", "\r 10%"), ("a", "\r100%\n")]


def test_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    ended = iter([False, False, True])
    assert list(followed(lambda: [("", tmp_path / "never")], lambda: next(ended))) == []


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("plain\n", "plain\n"),
        ("a\rb\rc\n", "c\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\r\r\n", "a\n"),
        ("first\n10%\r20%\rlast", "first\nlast"),
        ("frame\r", "frame"),
        ("\r\n", "\n"),
        ("", ""),
    ],
)
def test_collapsed(written: str, left: str) -> None:
    assert collapsed(written) == left
