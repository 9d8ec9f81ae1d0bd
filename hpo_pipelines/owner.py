"""Names of processes that own something recorded: another process can tell from them whether they still run."""

from __future__ import annotations

import os
import re
import socket

import psutil

from hpo_pipelines.types import new_id

_NAME = re.compile(r"(?P<machine>.+):(?P<pid>\d+):(?P<created>\d+\.\d\d)(:\w+)?")


def process_name() -> str:
    """Names this process: the same each time, and no other's."""
    return f"{machine()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def owner_name() -> str:
    """Names one owner in this process: another each time."""
    return f"{process_name()}:{new_id()}"


def machine() -> str:
    """Where this process's number means something: the host, and on Linux the container."""
    try:
        return f"{socket.gethostname()}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return socket.gethostname()


def spoken(owner: str) -> str:
    """``owner`` as a person is told of it."""
    named = _NAME.fullmatch(owner)
    return f"the process {named['pid']} on {named['machine'].partition('/')[0]}" if named else owner


def is_gone(owner: str) -> bool:
    """Whether ``owner`` was a process of this machine that has ended; of other machines only time tells."""
    named = _NAME.fullmatch(owner)
    if named is None or named["machine"] != machine():
        return False
    try:
        process = psutil.Process(int(named["pid"]))
        return f"{process.create_time():.2f}" != named["created"] or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
