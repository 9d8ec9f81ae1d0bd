"""Where code came from: the state of its git repository, and of the Python that runs it."""

from __future__ import annotations

import os
import platform
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

DIFF_LIMIT = 1 << 20
"""Bytes of a diff that are kept."""
PATIENCE = 5.0
"""Seconds that one call of git may take; a repository on a slow disk must not hold up a run."""
FRESH = 2.0
"""Seconds for which an answer is given again."""

_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
_lock = threading.Lock()
_known: dict[str, tuple[float, dict[str, Any] | None]] = {}


def python_version() -> str:
    """The version of this Python: ``3.11.7``."""
    return platform.python_version()


def git_state(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What git says about the repository that ``folder`` lies in, as it was at most two seconds ago.

    ``{"commit", "branch", "dirty", "diff"}``: ``commit`` is the full hash ("" before the first), ``branch`` "" when
    detached, ``dirty`` whether anything differs from the commit, untracked files included, and ``diff`` the text of the
    changes to tracked files, of at most 1 MiB and a note if it was longer.

    None where there is no repository, no git, or no answer within a few seconds.
    """
    path = str(Path(folder).resolve())
    with _lock:
        asked_at, state = _known.get(path, (float("-inf"), None))
        if time.monotonic() - asked_at > FRESH:
            state = _ask(path)
            _known.clear()
            _known[path] = (time.monotonic(), state)
    return None if state is None else dict(state)


def _ask(folder: str) -> dict[str, Any] | None:
    try:
        top = _git(folder, "rev-parse", "--show-toplevel").strip()
        status = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    except (OSError, subprocess.SubprocessError):
        return None
    # A repository without commits has a branch and nothing else to say; each of these fails quietly there.
    commit = _git_or_nothing(folder, "rev-parse", "--verify", "--quiet", "HEAD").strip()
    branch = _git_or_nothing(folder, "symbolic-ref", "--quiet", "--short", "HEAD").strip()
    return {
        "commit": commit,
        "branch": branch,
        "dirty": bool(status),
        "diff": _diff(top) if commit and status else "",
    }


def _git(folder: str, *arguments: str) -> str:
    """What ``git`` prints. Raises OSError without git, SubprocessError when it fails or takes too long."""
    done = subprocess.run(
        ["git", *_OPTIONS, "-C", folder, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_environment(),
        timeout=PATIENCE,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")


def _git_or_nothing(folder: str, *arguments: str) -> str:
    try:
        return _git(folder, *arguments)
    except (OSError, subprocess.SubprocessError):
        return ""


def _diff(top: str) -> str:
    """The changes to tracked files, cut off while they are read: a diff of data files can be gigabytes."""
    process = subprocess.Popen(
        ["git", *_OPTIONS, "-C", top, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    )
    # Reading blocks for as long as git computes; ending git ends the reading.
    watch = threading.Timer(PATIENCE, process.kill)
    watch.start()
    try:
        assert process.stdout is not None
        with process.stdout:
            data = process.stdout.read(DIFF_LIMIT + 1)
            if len(data) > DIFF_LIMIT:
                process.kill()
        code = process.wait()
    finally:
        watch.cancel()
    text = data[:DIFF_LIMIT].decode("utf-8", "replace")
    if len(data) > DIFF_LIMIT:
        return f"{text}\n[cut: the diff is longer than {DIFF_LIMIT} bytes]\n"
    if code != 0:
        return f"{text}\n[cut: git took longer than {PATIENCE:g} s]\n"
    return text


def _environment() -> dict[str, str]:
    # Looking must not take the index lock, ask for a password, or print in another language.
    return {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
