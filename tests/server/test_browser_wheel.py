"""What is installed from a wheel, with no Node about, has everything that its pages ask for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, expect
from server.conftest import LIMIT_MS, Watch
from services import missing

pytestmark = [pytest.mark.integration, pytest.mark.browser]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh environment with this project's wheel; what that needs is found in our own environment."""
    folder, uv = tmp_path_factory.mktemp("wheel"), shutil.which("uv")
    if uv is None:
        missing("uv, which builds the wheel", "pip install uv.")
    built = subprocess.run([uv, "build", "--wheel", "-q", "-o", str(folder), str(ROOT)], capture_output=True, text=True)
    if built.returncode and "hatchling" in built.stderr:
        missing("hatchling, which builds the wheel", f"let uv reach an index of packages once: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    binaries = folder / "env" / "bin"
    subprocess.run(
        [uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", str(binaries / "python"), str(wheel)],
        check=True,
    )
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "what_it_needs.pth").write_text(sysconfig.get_path("purelib"))
    return binaries


@pytest.fixture(scope="module")
def address(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PATH")}
    environment = {**kept, "HPO_HOME": str(home), "PATH": str(installed)}
    assert shutil.which("node", path=environment["PATH"]) is None
    where = subprocess.run(
        [installed / "python", "-c", "import hpo_pipelines; print(hpo_pipelines.__file__)"],
        env=environment, cwd=home, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(installed.parent), "another copy than the wheel's is in use"
    with (home / "up.log").open("w") as log:
        process = subprocess.Popen(
            [installed / "hpo", "up", "--no-open", "--no-mlflow", "--json", "--port", "0"],
            env=environment, cwd=home, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline()
    process.stdout.close()
    assert said, (home / "up.log").read_text()
    yield json.loads(said)["url"]
    process.terminate()
    process.wait(30)


def test_every_file_of_the_pages_is_in_the_wheel(installed: Path, address: str) -> None:
    (package,) = installed.parent.glob("lib/python*/site-packages/hpo_pipelines")
    ours = {path.relative_to(ROOT) for path in (ROOT / "hpo_pipelines/server").rglob("*") if path.is_file()}
    wanted = {path for path in ours if path.suffix not in (".pyc", ".pyi") and "__pycache__" not in path.parts}
    there = {Path("hpo_pipelines", path.relative_to(package)) for path in package.rglob("*")}
    assert sorted(wanted - there) == []
    for path in sorted(wanted):
        if "static" in path.parts:
            served = httpx2.get(f"{address}/static/{path.relative_to('hpo_pipelines/server/static').as_posix()}")
            assert served.status_code == 200, path
            assert served.content == (ROOT / path).read_bytes(), path


def test_its_pages_load(chromium: Browser, address: str) -> None:
    context, watch = chromium.new_context(base_url=address), Watch(address)
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    watch.on(page)
    asked: list[str] = []
    page.on("response", lambda answer: asked.append(answer.url) if answer.ok else None)
    for path, heading in (("/pipelines", "No pipeline yet"), ("/studies", "No study yet"), ("/cluster", "Cluster")):
        page.goto(path)
        expect(page.get_by_role("heading", name=heading).first).to_be_visible()
    page.evaluate("document.fonts.ready")
    assert page.evaluate("typeof window.htmx.process") == "function"
    assert page.evaluate("document.fonts.check('13px Inter')")
    assert any("vendor/htmx.min.js" in url for url in asked)
    context.close()
    assert watch.left() == []
