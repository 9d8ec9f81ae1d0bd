"""The contract of the store, for every kind of place, and the laws of putting and getting."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp

from hpo_pipelines.artifacts import INLINE_LIMIT, ArtifactStore
from hpo_pipelines.canonical import value_digest
from hpo_pipelines.errors import (
    ArtifactCorrupt,
    ArtifactError,
    ArtifactMissing,
    CodeUnavailable,
    NotSerializable,
)
from hpo_pipelines.types import ArtifactRef


class Color(Enum):
    RED = 1


@dataclass
class Model:
    weights: Any
    name: str = "m"


class Plain:
    """Has no canonical identity."""

    def __init__(self, x: object) -> None:
        self.x = x


class StoreContract:
    """What every place must do. Subclasses give ``url``."""

    distinct = 4
    """How many different values the 32 threads put and get."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store(self, url: str) -> ArtifactStore:
        return ArtifactStore(url)

    @pytest.mark.parametrize("value", [b"x" * 20_000, np.arange(5000.0), ["é" * 9000], (1, b"y" * 20_000), b"small", 1])
    def test_round_trip(self, store: ArtifactStore, value: Any) -> None:
        ref = store.put(value)
        assert store.exists(ref)
        assert len(store.read_bytes(ref)) == ref.size
        assert value_digest(store.get(ref)) == value_digest(value) == ref.value_digest
        assert type(store.get(ref)) is type(value)
        store.verify(ref)
        assert (ref.inline is None) == (ref.size > INLINE_LIMIT)

    def test_equal_values_are_kept_once(self, store: ArtifactStore) -> None:
        first, second = store.put(np.arange(5000)), store.put(np.arange(5000))
        assert first == second
        assert store.put(np.arange(5001)) != first

    def test_another_process_finds_it_by_url(self, store: ArtifactStore) -> None:
        ref = store.put(b"x" * 20_000)
        travelled: ArtifactStore = pickle.loads(pickle.dumps(store))
        assert travelled.url == store.url
        assert travelled.get(pickle.loads(pickle.dumps(ref))) == b"x" * 20_000

    def test_delete(self, store: ArtifactStore) -> None:
        ref = store.put(b"x" * 20_000)
        store.delete(ref)
        store.delete(ref)
        assert not store.exists(ref)
        for use in (store.get, store.open, store.read_bytes, store.verify):
            with pytest.raises(ArtifactMissing, match=f"{ref.digest} is no longer in .*Run the step"):
                use(ref)
        assert store.put(b"x" * 20_000) == ref
        assert store.exists(ref)

    def test_open_gives_the_stored_bytes(self, store: ArtifactStore) -> None:
        for data in (b"x" * 20_000, b"small"):
            with store.open(store.put(data)) as file:
                assert file.read(3) == data[:3]
                assert file.read() == data[3:]

    def test_bytes_of_the_callers_own_format(self, store: ArtifactStore) -> None:
        for size in (10, 20_000):
            ref = store.put_bytes(b"z" * size, format="snapshot")
            assert (ref.format, ref.size) == ("snapshot", size)
            assert ref.digest == ref.value_digest == blake3(b"z" * size).hexdigest()
            assert store.read_bytes(ref) == b"z" * size
            store.verify(ref)
            with pytest.raises(ArtifactError, match="read it with read_bytes"):
                store.get(ref)
        assert store.put_bytes(b"z" * 20_000) == store.put(b"z" * 20_000)
        with pytest.raises(ArtifactError, match=r"put\(…, format=\)"):
            store.put_bytes(b"", format="json")

    def test_damage_is_found(self, store: ArtifactStore) -> None:
        for value in (b"x" * 20_000, np.arange(5000.0), Model(np.arange(5000.0))):
            ref = store.put(value)
            data = bytearray(store.read_bytes(ref))
            data[10_000] ^= 1
            self.overwrite(store, ref, bytes(data))
            assert store.exists(ref), "which looks at the length only"
            for use in (store.verify, store.read_bytes):
                with pytest.raises(ArtifactCorrupt, match="run the step"):
                    use(ref)

    def test_truncation_is_found_without_reading_everything(self, store: ArtifactStore) -> None:
        for value in (b"x" * 20_000, np.arange(5000.0), pd.DataFrame({"a": np.arange(5000.0)})):
            ref = store.put(value)
            self.overwrite(store, ref, store.read_bytes(ref)[:-1])
            assert not store.exists(ref)
            with pytest.raises(ArtifactCorrupt, match=f"{ref.size - 1} bytes instead of {ref.size}"):
                store.get(ref)
            assert store.put(value) == ref, "and a put heals it"
            store.verify(ref)

    def test_many_threads_put_and_get_the_same(self, store: ArtifactStore) -> None:
        values = [np.full(4000, float(number)) for number in range(self.distinct)]

        def once(number: int) -> bool:
            ref = store.put(values[number % self.distinct])
            return bool((store.get(ref) == values[number % self.distinct]).all())

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(once, range(32)))

    def test_paths(self, store: ArtifactStore, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "a.bin").write_bytes(b"a" * 20_000)
        copy = store.get(store.put(tmp_path / "model"))
        assert (copy / "a.bin").read_bytes() == b"a" * 20_000

    def test_files_are_listed_by_digest(self, store: ArtifactStore) -> None:
        assert list(store.files()) == []
        before = time.time()
        refs = [store.put(bytes([n]) * 20_000) for n in range(3)]
        store.put(b"small")
        files = {file.name: file for file in store.files()}
        assert files.keys() == {ref.digest for ref in refs}
        for ref in refs:
            file = files[ref.digest]
            assert (file.size, file.leftover) == (ref.size, False)
            # Clouds tell whole seconds, and have clocks of their own.
            assert file.changed_at == pytest.approx(before, abs=30)

    def test_only_what_is_older_is_swept(self, store: ArtifactStore) -> None:
        ref = store.put(b"x" * 20_000)
        (file,) = store.files()
        assert file.changed_at is not None
        assert store.sweep(file, file.changed_at - 10) is False
        assert store.sweep(file, file.changed_at) is False, "what was written just then is not older"
        store.verify(ref)
        assert store.sweep(file, file.changed_at + 10) is True
        assert store.sweep(file, file.changed_at + 10) is False
        assert not store.exists(ref)
        assert list(store.files()) == []
        assert store.put(b"x" * 20_000) == ref
        store.verify(ref)

    def test_what_is_put_again_counts_as_new(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        ref = store.put(b"x" * 20_000)
        self.age(store, ref, 7200, monkeypatch)
        (file,) = store.files()
        now = time.time()
        assert file.changed_at is not None
        assert store.put(b"x" * 20_000) == ref
        assert store.sweep(file, now - 3600) is False
        store.verify(ref)

    def age(self, store: ArtifactStore, ref: ArtifactRef, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make the artifact's file as if it had been written ``seconds`` ago."""
        raise NotImplementedError

    def overwrite(self, store: ArtifactStore, ref: ArtifactRef, data: bytes) -> None:
        """Put other bytes where the artifact's are, behind the store's back."""
        raise NotImplementedError


class TestLocalPath(StoreContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "artifacts")

    def overwrite(self, store: ArtifactStore, ref: ArtifactRef, data: bytes) -> None:
        path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
        path.chmod(0o644)
        path.write_bytes(data)

    def age(self, store: ArtifactStore, ref: ArtifactRef, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        at = time.time() - seconds
        os.utime(Path(store.url) / ref.digest[:2] / ref.digest[2:], (at, at))


class TestFileUrl(TestLocalPath):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return (tmp_path / "with space").as_uri()


class FsspecContract(StoreContract):
    def overwrite(self, store: ArtifactStore, ref: ArtifactRef, data: bytes) -> None:
        import fsspec

        with fsspec.open(f"{store.url}/{ref.digest[:2]}/{ref.digest[2:]}", "wb") as file:
            file.write(data)

    def age(self, store: ArtifactStore, ref: ArtifactRef, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file cannot be made older everywhere; the clock by which it is young can: it then says that it is late."""
        from hpo_pipelines.artifacts import location

        class Later:
            @staticmethod
            def time() -> float:
                return time.time() + seconds

        wrote = []
        write = store._location.write
        monkeypatch.setattr(store._location, "write", lambda *given: (wrote.append(given[0]), write(*given)))
        assert store.put(b"x" * 20_000) == ref
        assert wrote == [], "what is young is not written again"
        monkeypatch.setattr(location, "time", Later)


class TestMemory(FsspecContract):
    distinct = 32  # fsspec gives every reader of a file in memory the same file object.

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"memory://{tmp_path.name}/artifacts"


class TestRenamingFileSystem(FsspecContract):
    """A place where an upload shows before it is whole, as over SFTP: fsspec's own local files stand in."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"simplecache::{(tmp_path / 'far').as_uri()}"

    @pytest.fixture
    def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
        # The local fast path must not be taken, so the URL is handed to fsspec as it stands.
        from hpo_pipelines.artifacts import store as module
        from hpo_pipelines.artifacts.location import RemoteFolder

        monkeypatch.setattr(module, "location_of", RemoteFolder)
        monkeypatch.setattr(module, "normal_url", lambda url: url.removeprefix("simplecache::"))
        return ArtifactStore(url)

    def test_nothing_is_left_of_a_failed_upload(self, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
        files = store._location._files  # type: ignore[attr-defined]

        def fail(*_: object) -> None:
            raise OSError("connection lost")

        monkeypatch.setattr(files, "mv", fail)
        with pytest.raises(ArtifactError, match="connection lost"):
            store.put(b"x" * 20_000)
        assert [path for path in files.find(store.url) if not path.endswith("/")] == []


@pytest.mark.integration
class TestS3(FsspecContract):
    @pytest.fixture
    def url(self, s3: str, tmp_path: Path) -> str:
        return f"{s3}/{tmp_path.name}"

    def test_a_bucket_that_is_not_there(self, s3: str) -> None:
        store = ArtifactStore("s3://nowhere/x")
        with pytest.raises(ArtifactError, match="s3://nowhere/x cannot be used"):
            store.put(b"x" * 20_000)

    def test_large_frames_come_back_writable(self, store: ArtifactStore) -> None:
        value = pd.DataFrame(np.random.default_rng(0).random((200_000, 4)))
        ref = store.put(value)
        copy = store.get(ref)
        pd.testing.assert_frame_equal(copy, value)
        copy.iloc[0, 0] = 7.0
        store.verify(ref)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def files_of(store: ArtifactStore) -> list[Path]:
    return [path for path in Path(store.url).rglob("*") if path.is_file()]


def test_leftovers_of_killed_writers_are_told_apart_and_swept(store: ArtifactStore) -> None:
    ref = store.put(b"x" * 20_000)
    folder = Path(store.url) / ref.digest[:2]
    left = folder / f".{ref.digest[2:]}.0123456789ab.tmp"
    left.write_bytes(b"half")
    for foreign in (folder / "notes.txt", folder / ".hidden.tmp", Path(store.url) / "README", folder / "ab"):
        foreign.write_text("somebody else's")
    (Path(store.url) / "zz").mkdir()
    files = {file.name: file for file in store.files()}
    assert files.keys() == {ref.digest, f"{ref.digest[:2]}/{left.name}"}
    half = files[f"{ref.digest[:2]}/{left.name}"]
    assert (half.leftover, half.size) == (True, 4)
    assert store.sweep(half, time.time() - 10) is False
    assert store.sweep(half, time.time() + 10) is True
    assert not left.exists()
    store.verify(ref)


def test_a_put_right_before_the_file_goes_is_not_lost(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two that can miss each other: the file is old when the sweeper looks, and put again before it removes it."""
    ref = store.put(b"x" * 20_000)
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    os.utime(path, (1.0, 1.0))
    (file,) = store.files()
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "rename", rename)
        assert store.put(b"x" * 20_000) == ref
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    assert store.sweep(file, time.time() - 3600) is False
    store.verify(ref)
    assert [file.name for file in store.files()] == [ref.digest]


def test_a_put_while_the_file_is_out_of_the_way_writes_it_anew(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = store.put(b"x" * 20_000)
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    os.utime(path, (1.0, 1.0))
    (file,) = store.files()
    rename = os.rename

    def early(source: Path, target: Path) -> None:
        rename(source, target)
        assert store.put(b"x" * 20_000) == ref

    monkeypatch.setattr(os, "rename", early)
    assert store.sweep(file, time.time() - 3600) is True
    store.verify(ref)


def test_sweeping_and_putting_at_once_loses_nothing(store: ArtifactStore) -> None:
    """Many writers of one content against a sweeper that takes all that is old: each finds what it has put."""
    data, ended = b"x" * 20_000, threading.Event()
    ref = store.put(data)
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    swept = []

    def sweep() -> None:
        while not ended.is_set():
            with suppress(FileNotFoundError):
                os.utime(path, (1.0, 1.0))
            for file in store.files():
                swept.append(store.sweep(file, 2.0))

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        deadline = time.monotonic() + 60
        for number in itertools.count():
            assert store.put(data) == ref
            if number >= 300 and any(swept):
                break
            assert time.monotonic() < deadline, "nothing was swept"
        # The sweeper alone makes files old, so the last put may be swept fairly; from here on it may not.
    finally:
        ended.set()
        thread.join()
    store.put(data)
    store.verify(ref)
    assert [file for file in store.files() if file.leftover] == []


def test_a_file_of_another_user_is_written_again(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = store.put(b"x" * 20_000)
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    os.utime(path, (1.0, 1.0))
    refused = []

    def utime(*_: object) -> None:
        refused.append(1)
        raise PermissionError

    monkeypatch.setattr(os, "utime", utime)
    assert store.put(b"x" * 20_000) == ref
    assert refused
    assert path.stat().st_mtime > 1.0


def test_layout_and_names(store: ArtifactStore) -> None:
    ref = store.put(b"x" * 20_000)
    assert files_of(store) == [Path(store.url) / ref.digest[:2] / ref.digest[2:]]
    assert ref.digest == blake3(b"x" * 20_000).hexdigest(), "plain bytes are found by anyone's b3sum"


def test_small_outputs_need_no_file(store: ArtifactStore) -> None:
    for value in (
        None,
        1.5,
        [1, 2],
        "x",
        (1, 2),
        np.arange(3),
        pd.DataFrame({"a": [1]}),
        Color.RED,
        {1, 2},
        b"x" * 8192,
    ):
        ref = store.put(value)
        assert ref.inline is not None
        assert len(ref.inline) == ref.size <= INLINE_LIMIT
        assert ArtifactStore("/nowhere/at/all").get(ref) is not ref
        ArtifactStore("/nowhere/at/all").verify(ref)
    assert not Path(store.url).exists()
    damaged = replace(ref, inline=b"y" + (ref.inline or b"")[1:])
    for use in (store.get, store.verify):
        with pytest.raises(ArtifactCorrupt):
            use(damaged)


def test_a_copy_in_another_store(store: ArtifactStore, tmp_path: Path) -> None:
    other = ArtifactStore(tmp_path / "other")
    for value in (1, "x" * 100_000):
        ref = store.put(value)
        for _ in range(2):
            store.copy(ref, other)
        assert other.get(ref) == value
    store.delete(ref)
    with pytest.raises(ArtifactMissing):
        store.copy(ref, ArtifactStore(tmp_path / "third"))
    store.copy(ref, other)
    other.copy(ref, store)
    assert store.get(ref) == value


def test_inline_and_filed_have_the_same_digests(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [1, [1, {"a": None}], (1, 2), np.arange(3), pd.DataFrame({"a": [1, 2]}), b"x", Model(np.arange(9)), {1}]
    inline = [store.put(value) for value in values]
    monkeypatch.setattr("hpo_pipelines.artifacts.store.INLINE_LIMIT", -1)
    for value, ref in zip(values, inline):
        filed = store.put(value)
        assert filed == replace(ref, inline=None)
        assert value_digest(store.get(filed)) == value_digest(store.get(ref)) == ref.value_digest


def test_a_scalar_output_has_the_key_of_the_literal(store: ArtifactStore) -> None:
    for value in (1, 1.0, True, "1", None, [1, 2.5], (1,), {"a": 1}, Color.RED, np.float64(1)):
        assert store.put(value).value_digest == value_digest(value)


def test_what_has_no_identity_goes_by_its_bytes(store: ArtifactStore) -> None:
    ref = store.put(Plain(np.arange(5000)))
    assert ref.value_digest == ref.digest
    assert (store.get(ref).x == np.arange(5000)).all()


# Damage and disaster


def test_a_file_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ArtifactError, match="must be a folder"):
        ArtifactStore(tmp_path / "taken").put(b"x" * 20_000)
    ref = ArtifactStore(tmp_path).put(b"x" * 20_000)
    for use in (ArtifactStore(tmp_path / "taken").exists, ArtifactStore(tmp_path / "taken").get):
        with pytest.raises(ArtifactError, match="must be a folder"):
            use(ref)


FULL = """
import resource, signal, sys
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.errors import ArtifactError
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    ArtifactStore(sys.argv[1]).put(b"x" * 3_000_000)
except ArtifactError as error:
    print(error)
"""

READ_ONLY = """
import os, sys
from hpo_pipelines.artifacts import ArtifactStore
from hpo_pipelines.errors import ArtifactError
if os.geteuid() == 0:
    os.setuid(65534)  # Root may write anywhere.
try:
    ArtifactStore(sys.argv[1]).put(b"x" * 20_000)
except ArtifactError as error:
    print(error)
"""


def run(script: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.mark.integration
def test_no_room(store: ArtifactStore) -> None:
    message = run(FULL, store.url)
    assert f"the artifacts at {store.url} cannot be used" in message
    assert "no room left" in message
    assert files_of(store) == []
    assert store.get(store.put(b"x" * 3_000_000)) == b"x" * 3_000_000, "once there is room, all is well"


@pytest.mark.integration
def test_a_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "locked"
        root.mkdir()
        Path(folder).chmod(0o755)
        root.chmod(0o555)
        message = run(READ_ONLY, str(root))
        assert f"the artifacts at {root} cannot be used" in message
        assert "must be able to write there" in message
        root.chmod(0o755)


WRITER = """
import sys
import numpy as np
from hpo_pipelines.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1])
for number in range(10**6):
    store.put(np.full(500_000, number + float(sys.argv[2])))
    print(number, flush=True)
"""


@pytest.mark.integration
def test_a_killed_writer_leaves_nothing_under_a_final_name(store: ArtifactStore) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, store.url, start], stdout=subprocess.PIPE)
        for start in ("0", "0", "0.5")  # Two of them write the same.
    ]
    for line in (b"0\n", b"1\n", b"2\n", b"3\n"):
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == line
    for writer in writers:  # Each is at its fifth by now.
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    whole = [path for path in files_of(store) if not path.name.endswith(".tmp")]
    size = store.put(np.full(500_000, -1.0)).size
    for path in whole:
        ref = ArtifactRef(path.parent.name + path.name, "", "npy", size)
        store.verify(ref)
    assert len(whole) >= 8
    assert all(path.name.startswith(".") for path in set(files_of(store)) - set(whole) if path.suffix == ".tmp")


def test_a_write_that_fails_midway_leaves_nothing(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "hpo_pipelines.artifacts.location.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(ArtifactError, match="no room left"):
        store.put(b"x" * 20_000)
    assert files_of(store) == []


def test_an_index_of_another_artifact_is_refused(store: ArtifactStore) -> None:
    ref, other = store.put(np.arange(5000.0)), store.put(np.arange(1.0, 5001.0))
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    path.chmod(0o644)
    path.write_bytes(store.read_bytes(other))
    with pytest.raises(ArtifactCorrupt, match="index does not match"):
        store.get(ref)


def test_a_damaged_pickle_is_never_run(store: ArtifactStore) -> None:
    ref = store.put(("x" * 20_000, {1}))
    path = Path(store.url) / ref.digest[:2] / ref.digest[2:]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"xxxx", b"yyyy", 1))
    with pytest.raises(ArtifactCorrupt, match="part 0"):
        store.get(ref)


# Copies of one's own


@pytest.mark.parametrize("rows", [3, 100_000])
def test_writing_into_an_input_never_leaks(store: ArtifactStore, rows: int) -> None:
    array, frame = np.zeros((rows, 2)), pd.DataFrame({"a": np.zeros(rows), "b": np.zeros(rows, "i8")})
    for value in (array, frame, frame["a"], {"x": array, "y": {1, 2}}, [frame], np.asfortranarray(array)):
        ref = store.put(value)
        before = store.read_bytes(ref)
        mine = store.get(ref)
        target: Any = mine["x"] if isinstance(mine, dict) else mine[0] if isinstance(mine, list) else mine
        if isinstance(target, np.ndarray):
            assert type(target) is np.ndarray
            target[...] = 7
        else:
            target.iloc[0] = 7
        assert store.read_bytes(ref) == before
        assert value_digest(store.get(ref)) == value_digest(value) != value_digest(mine)
        store.verify(ref)


def test_what_was_read_outlives_the_file(store: ArtifactStore) -> None:
    ref = store.put(np.arange(100_000.0))
    value = store.get(ref)
    store.delete(ref)
    assert value.sum() == 4999950000.0


# Codecs and errors


class Reversing:
    """A codec of one's own."""

    def dump(self, value: object, file: BinaryIO, buffer_callback: Any) -> None:
        file.write(pickle.dumps(value)[::-1])

    def load(self, data: memoryview, /, buffers: Any) -> Any:
        assert list(buffers) == []
        return pickle.loads(bytes(data)[::-1])


class Unavailable(Reversing):
    def load(self, data: memoryview, /, buffers: Any) -> Any:
        raise CodeUnavailable("no such snapshot")


def test_a_codec_of_ones_own(store: ArtifactStore) -> None:
    ref = store.put((1, {2}), code=Reversing())
    assert store.get(ref, code=Reversing()) == (1, {2})
    with pytest.raises(ArtifactError, match=r"cannot be read here: .*package versions"):
        store.get(ref)
    with pytest.raises(CodeUnavailable):
        store.get(ref, code=Unavailable())


class Holder:
    def __init__(self) -> None:
        self.fine = 1
        self.state = {"handles": [1, threading.Lock()]}


class WithSlots:
    __slots__ = ("fine", "lock")

    def __init__(self) -> None:
        self.fine, self.lock = 1, threading.Lock()


class Refuses:
    def __getstate__(self) -> object:
        raise ZeroDivisionError("not today")


@pytest.mark.parametrize(
    ("value", "kind", "detail"),
    [
        (threading.Lock(), r"_thread.lock", "cannot pickle"),
        ((number for number in range(3)), "generator", "cannot pickle"),
        (Holder(), "Holder", r"at \.state\['handles'\]\[1\], of type _thread.lock"),
        ({"x": [1, (2, threading.Lock())]}, "dict", r"at \['x'\]\[1\]\[1\]"),
        (Refuses(), "Refuses", "not today"),
        (WithSlots(), "WithSlots", r"at \.lock, of type _thread.lock"),
        (pd.DataFrame({"a": [1, threading.Lock()]}), "DataFrame", r"at \['a'\]\[1\], of type _thread.lock"),
        (Path("/no/such/file"), "PosixPath", r"no file or folder: /no/such/file.*return str\(path\)"),
    ],
    ids=["lock", "generator", "inside", "nested", "raises", "slots", "frame", "path"],
)
def test_not_serializable_names_output_type_and_culprit(
    store: ArtifactStore, value: object, kind: str, detail: str
) -> None:
    with pytest.raises(NotSerializable, match=rf"output 'model' of type \S*{kind} cannot be stored: .*{detail}"):
        store.put(value, name="model")
    assert not Path(store.url).exists()


def test_an_open_file_is_not_serializable(store: ArtifactStore, tmp_path: Path) -> None:
    with (
        (tmp_path / "x").open("w") as file,
        pytest.raises(NotSerializable, match=r"output 'log' of type .*TextIOWrapper"),
    ):
        store.put(file, name="log")


def test_formats_by_name(store: ArtifactStore) -> None:
    assert store.put([1], format="pickle").format == "pickle"
    assert store.put([1], format="pickle").value_digest == store.put([1]).value_digest
    with pytest.raises(NotSerializable, match="format 'json' cannot hold it exactly"):
        store.put((1,), format="json")
    with pytest.raises(NotSerializable, match=r"no format 'hdf5'; known are path, bytes"):
        store.put((1,), format="hdf5")


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ArtifactStore("a/b").url == str(tmp_path / "a/b")
    assert ArtifactStore("~/b").url == str(tmp_path / "b")
    assert ArtifactStore("file:///a%20b/").url == "/a b"
    assert ArtifactStore("s3://bucket/x/").url == "s3://bucket/x"
    assert repr(ArtifactStore("/x")) == "ArtifactStore('/x')"
    for wrong in ("file://host/x", "file:x"):
        with pytest.raises(ArtifactError, match="three slashes"):
            ArtifactStore(wrong)
    with pytest.raises(ArtifactError, match="nosuch"):
        ArtifactStore("nosuch://x").put(b"x" * 20_000)


@pytest.mark.integration
def test_local_places_need_no_fsspec(tmp_path: Path) -> None:
    script = """
import sys
from hpo_pipelines.artifacts import ArtifactStore
store = ArtifactStore("file://" + sys.argv[1])
assert store.get(store.put(["x" * 20_000])) == ["x" * 20_000]
print(sorted({"fsspec", "pandas", "pyarrow", "numpy", "cloudpickle"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": ""}
    out = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert "fsspec" not in out


# Laws

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["\ud83d\ude00", "\ud800"]),
)
JSON_LIKE = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)
ARRAYS = (stnp.scalar_dtypes() | stnp.unicode_string_dtypes(max_len=2)).flatmap(
    lambda dtype: stnp.arrays(dtype, stnp.array_shapes(min_dims=0, max_dims=3, max_side=3, min_side=0))
)
VALUES = st.recursive(
    JSON_LIKE | st.binary(max_size=9) | st.binary(max_size=9).map(bytearray) | ARRAYS | st.just(Color.RED) | st.dates(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.integers() | st.tuples(st.text(max_size=2)), inner, max_size=3),
        st.builds(Model, inner),
    ),
    max_leaves=4,
)


def same_types(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same_types(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same_types, left, right))
    if isinstance(left, np.ndarray):
        # numpy's own pickles bring some dtypes into native byte order; the values are compared by the digests.
        return left.shape == right.shape and left.dtype.newbyteorder("<") == right.dtype.newbyteorder("<")
    if isinstance(left, float):
        return math.copysign(1, left) == math.copysign(1, right) and (left == right or left != left)
    return same_types(left.weights, right.weights) if isinstance(left, Model) else bool(left == right)


NOWHERE = ArtifactStore("/nowhere")


@settings(max_examples=60)
@given(VALUES)
def test_law_get_of_put_is_the_value_with_its_types(value: object) -> None:
    ref = NOWHERE.put(value)
    copy = NOWHERE.get(ref)
    assert same_types(copy, value)
    assert value_digest(copy) == value_digest(value) == ref.value_digest
    NOWHERE.verify(ref)


@given(JSON_LIKE)
def test_law_plain_values_are_readable_json(value: object) -> None:
    ref = NOWHERE.put(value)
    if ref.format == "json":
        assert value_digest(json.loads(NOWHERE.read_bytes(ref))) == ref.value_digest
    else:
        assert "\\ud" in ascii(value), "only surrogates have no UTF-8"


@given(st.binary(max_size=300), st.integers(0, 6000))
def test_law_a_flipped_bit_is_found(data: bytes, place: int) -> None:
    ref = NOWHERE.put((data, np.arange(600)))  # Two parts, with a gap between them.
    assert ref.inline is not None
    stored = bytearray(ref.inline)
    stored[place % len(stored)] ^= 4
    with pytest.raises(ArtifactCorrupt):
        NOWHERE.verify(replace(ref, inline=bytes(stored)))


def test_stored_arrays_and_pickles_are_read_by_their_own_tools(store: ArtifactStore) -> None:
    array = np.asfortranarray(np.arange(6000.0).reshape(2, 3000))
    loaded = np.load(io.BytesIO(store.read_bytes(store.put(array))))
    assert (loaded == array).all()
    assert loaded.flags.f_contiguous
    assert pickle.loads(store.read_bytes(store.put(("x", {1})))) == ("x", {1})
