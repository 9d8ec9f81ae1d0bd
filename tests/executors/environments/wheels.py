"""Wheels of a package so small that a test can make it."""

from __future__ import annotations

import zipfile
from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: tinything\nVersion: {version}\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
MODULE = """
VERSION = "{version}"

class Thing:
    made_by = VERSION
    def __eq__(self, other):
        return type(other) is Thing
"""


def wheel(folder: Path, version: str, module: str = MODULE) -> Path:
    """A wheel of ``tinything`` in that version, whose module is ``module``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tinything-{version}-py3-none-any.whl"
    info = f"tinything-{version}.dist-info"
    files = {
        "tinything.py": module.format(version=version),
        f"{info}/METADATA": METADATA.format(version=version),
        f"{info}/WHEEL": WHEEL,
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def requirement(folder: Path, version: str) -> str:
    """What a step declares to get it."""
    return f"tinything @ {wheel(folder, version).as_uri()}"
