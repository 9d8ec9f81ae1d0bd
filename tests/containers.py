"""A container engine for tests, with storage of its own, and an image made of this machine's Python."""

from __future__ import annotations

import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import missing

IMAGE = "localhost/hpo-pipelines-test:1"
CURE = "apt-get install podman runc uidmap fuse-overlayfs, or put podman on the PATH."
FORBIDDEN = ("operation not permitted", "permission denied", "cgroup", "namespace", "newuidmap", "not supported")
"""What engines say where the kernel, or whoever runs this machine, lets nobody make a container."""

CONFIGURATION = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
[engine]
{runtime}
cgroup_manager = "cgroupfs"
"""

STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""

LEFT_OUT = ("/site-packages", "/test/", "/tests/", "__pycache__", "/idlelib", "/tkinter", "/ensurepip", "/config-3")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image with this Python as ``python3`` and nothing else; no registry is asked for anything."""
    if shutil.which("podman") is None:
        missing("podman", CURE)
    folder = tmp_path_factory.mktemp("containers")
    # What podman would ask for by itself is more than a process without the right to raise limits may have.
    files, processes = (_limit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    runtime = 'runtime = "runc"' if shutil.which("runc") else ""
    (folder / "containers.conf").write_text(CONFIGURATION.format(files=files, processes=processes, runtime=runtime))
    driver = "overlay" if os.geteuid() == 0 or shutil.which("fuse-overlayfs") else "vfs"
    (folder / "storage.conf").write_text(STORAGE.format(driver=driver, folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
        patch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
        patch.setenv("HPO_CONTAINER_ENGINE", "podman")
        _make_image(folder / "image.tar")
        try:
            said = podman("import", "--quiet", str(folder / "image.tar"), IMAGE)
            if said.returncode == 0:
                said = podman("run", "--rm", "--network=host", IMAGE, "python3", "-c", "import ctypes")
            if said.returncode != 0:
                if any(words in said.stderr.lower() for words in FORBIDDEN):
                    pytest.skip(f"this machine lets nobody make a container: {said.stderr.strip()[-400:]}")
                missing("a container engine that works", said.stderr.strip()[-2000:])
            yield IMAGE
        finally:
            podman("rm", "--all", "--force")
            podman("rmi", "--all", "--force")
            podman("unshare", "rm", "-rf", str(folder)) if os.geteuid() else shutil.rmtree(folder, ignore_errors=True)


def _limit(kind: int) -> int:
    hard = resource.getrlimit(kind)[1]
    return 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)


def podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, timeout=120)


def containers() -> list[str]:
    """The names of all containers that there are, also of those that have ended."""
    return podman("ps", "--all", "--format={{.Names}}").stdout.split()


def _make_image(path: Path) -> None:
    """A tar of the interpreter, its standard library, and the system's libraries that they and ours load."""
    python, library = os.path.realpath(sys.executable), sysconfig.get_path("stdlib")
    compiled = [python, *glob.glob(f"{library}/lib-dynload/*.so")]
    compiled += glob.glob(os.path.join(sysconfig.get_path("purelib"), "blake3", "*.so"))
    linked = subprocess.run(["ldd", *compiled], capture_output=True, text=True, check=False).stdout
    with tarfile.open(path, "w") as archive:
        archive.add(python, "usr/bin/python3")
        for name in sorted(set(re.findall(r"(?:=> |^\s+)(/\S+)(?= \()", linked, re.MULTILINE))):
            archive.add(os.path.realpath(name), name.lstrip("/"))
        version = "{}.{}".format(*sys.version_info)
        archive.add(library, f"usr/lib/python{version}", filter=_needed)
        for name in ("tmp", "proc", "sys", "dev", "etc", "root"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)


def _needed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if any(part in f"{member.name}/" for part in LEFT_OUT) else member
