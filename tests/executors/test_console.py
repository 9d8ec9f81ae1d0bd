from __future__ import annotations

import contextlib
import ctypes
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpo_pipelines.executors import console


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "consoles" / "step.log"


class TestTail:
    def test_the_whole_of_a_short_file(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"one\ntwo\n")
        assert console.tail(str(tmp_path / "log")) == "one\ntwo\n"

    def test_whole_lines_from_the_end_of_a_long_one(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("".join(f"line {n}\n" for n in range(100)))
        assert console.tail(str(tmp_path / "log"), 20) == "line 98\nline 99\n"

    def test_the_end_of_one_long_line(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_text("x" * 100)
        assert console.tail(str(tmp_path / "log"), 20) == "x" * 20

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(b"\xff ok")
        assert console.tail(str(tmp_path / "log")) == "� ok"

    def test_no_file(self, tmp_path: Path) -> None:
        assert console.tail(str(tmp_path / "log")) == ""


class TestCaptured:
    def test_everything_that_reaches_the_descriptors(self, path: Path) -> None:
        with console.captured(str(path)):
            os.write(1, b"write\n")
            ctypes.CDLL(None).printf(b"printf\n")
            ctypes.CDLL(None).fflush(None)
            subprocess.run(["sh", "-c", "echo child; echo error >&2"], check=True)
        os.write(1, b"after\n")
        assert path.read_text() == "write\nprintf\nchild\nerror\n"

    def test_what_was_printed_before_and_after_stays_outside(self, path: Path) -> None:
        code = (
            "import sys; from hpo_pipelines.executors import console\n"
            "print('before')\n"
            "with console.captured(sys.argv[1]): print('inside')\n"
            "print('after')\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout == "before\nafter\n"
        assert path.read_text() == "inside\n"

    def test_it_appends_and_ends_also_by_an_exception(self, path: Path) -> None:
        for word in (b"one", b"two"):
            with contextlib.suppress(ZeroDivisionError), console.captured(str(path)):
                os.write(2, word)
                raise ZeroDivisionError
        os.write(2, b"")
        assert path.read_bytes() == b"onetwo"

    def test_a_closed_stream_does_not_matter(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = io.StringIO()
        stream.close()
        monkeypatch.setattr(sys, "stdout", stream)
        with console.captured(str(path)):
            os.write(1, b"still")
        assert path.read_bytes() == b"still"


def test_lines_reach_the_file_before_the_process_dies(path: Path) -> None:
    code = (
        "import ctypes, os, sys; from hpo_pipelines.executors import console\n"
        "console.by_lines()\n"
        "with console.captured(sys.argv[1]):\n"
        "    print('python')\n"
        "    ctypes.CDLL(None).printf(b'C\\n')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with open(path.parent.parent / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code, str(path)], stdout=out, check=False)
    assert path.read_text() == "python\nC\n"


class TestTeed:
    def test_it_is_shown_and_kept(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with console.teed(str(path)):
            print("out")
            print("error", file=sys.stderr)
            sys.stdout.writelines(["a\n", "b\n"])
            # While it runs.
            assert path.read_text() == "out\nerror\na\nb\n"
        print("after")
        assert capsys.readouterr() == ("out\na\nb\nafter\n", "error\n")
        assert path.read_text() == "out\nerror\na\nb\n"

    def test_threads_have_their_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        meet = threading.Barrier(2)

        def run(name: str) -> None:
            with console.teed(str(tmp_path / name)):
                for _ in range(3):
                    meet.wait()
                    print(f"{name}\n", end="")  # one write: the stream itself is shared

        threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["a\n" * 3, "b\n" * 3]
        assert sorted(capsys.readouterr().out.split()) == ["a"] * 3 + ["b"] * 3

    def test_the_inner_one_takes_over(self, tmp_path: Path) -> None:
        with console.teed(str(tmp_path / "outer")):
            print("1")
            with console.teed(str(tmp_path / "inner")):
                print("2")
            print("3")
        assert (tmp_path / "outer").read_text() == "1\n3\n"
        assert (tmp_path / "inner").read_text() == "2\n"

    def test_the_streams_are_as_before(self, path: Path) -> None:
        before = sys.stdout, sys.stderr
        with console.teed(str(path)):
            assert sys.stdout is not before[0]
            assert sys.stdout.fileno() == before[0].fileno()
        assert (sys.stdout, sys.stderr) == before
