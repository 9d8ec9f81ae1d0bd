"""Takes the pictures of README.md and docs/: pages of a server over a home of examples, and a terminal's recording.

    .venv/bin/python scripts/take_pictures.py      # as `make pictures` does; needs Chromium; two minutes

What they show has been run for them: nothing is made up. Look at them before they are committed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 300_000
"""Of one picture; the repository carries them."""
SIZE = {"width": 1360, "height": 820}
WAIT_MS = 60_000
PAGES = ("run.png", "study.png", "compare.png", "console.png")
STILL = """() => document.getAnimations().every(
    each => each.playState != "running" || each.effect.getTiming().iterations == Infinity)"""


def example(path: str) -> ModuleType:
    """An example's module, under a name of its own."""
    spec = importlib.util.spec_from_file_location("example_" + path.replace("/", "_").removesuffix(".py"), ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fill(home: str) -> dict[str, str]:
    """Run the examples that are shown in ``home``; the ids of what came of it."""
    from hpo_pipelines import Workspace, optimize

    species = example("examples/tabular/pipeline.py").species
    net = example("examples/network/study.py").network
    digits = example("examples/digits/pipeline.py").digits
    options: dict[str, Any] = {"executor": "local"}
    with Workspace(home=home) as place:
        options["workspace"] = place
        first = species.run(forests=[2, 5, 20], **options)
        wider = first.clone(forests=[2, 5, 20, 60]).run(executor="local")
        deeper = wider.clone(depth=6).run(executor="local")
        trained = net.run(epochs=12, layer_1=48, rate=0.01, **options)
        space = ROOT / "examples" / "digits" / "space.yaml"
        goal = {"objective": "evaluate.accuracy", "direction": "maximize", "n_trials": 30, "n_jobs": 2, "seed": 0}
        study = optimize(digits, space, name="digits", **goal, **options)
        for run in (first, wider, deeper, trained):
            run.raise_for_status()
        return {"wider": wider.id, "deeper": deeper.id, "trained": trained.id, "study": study.id}


@contextmanager
def served(home: str) -> Iterator[str]:
    """`hpo up` for ``home``; gives its address."""
    command = [sys.executable, "-m", "hpo_pipelines", "up", "--no-open", "--json", "--port", "0", "--no-mlflow"]
    environment = {**os.environ, "HPO_HOME": home}
    log = Path(home, "up.log")
    with log.open("w") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said, log.read_text()
        yield json.loads(said)["url"]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def shots(url: str, ids: dict[str, str], out: Path) -> None:
    """The pages as a person sees them."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{url}/runs/{ids['wider']}?step=train.4")
        settled(page, "train.4")
        page.screenshot(path=out / "run.png")
        page.goto(f"{url}/studies/{ids['study']}")
        page.set_viewport_size({"width": 1360, "height": 1180})
        settled(page, "Parallel coordinates")
        page.get_by_text("Computing").first.wait_for(state="hidden")
        settled(page, "not computed again")
        page.screenshot(path=out / "study.png")
        page.set_viewport_size(SIZE)
        page.goto(f"{url}/compare?runs={ids['wider']},{ids['deeper']}")
        settled(page, "depth")
        page.screenshot(path=out / "compare.png")
        page.emulate_media(color_scheme="dark")
        page.goto(f"{url}/runs/{ids['trained']}?step=train")
        settled(page, "train")
        page.keyboard.press("l")
        settled(page, "epoch 11")
        page.screenshot(path=out / "console.png")
        browser.close()
    for name in PAGES:
        # Flat colours: a palette shows the same in a third of the bytes.
        with Image.open(out / name) as picture:
            picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out / name, optimize=True)


def settled(page: Page, text: str) -> None:
    """Wait until ``text`` is on the page, its fonts are there and nothing is being drawn any more."""
    page.get_by_text(text).first.wait_for()
    page.evaluate("document.fonts.ready")
    page.wait_for_function(STILL)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--out", type=Path, default=IMAGES)
    arguments.add_argument("--pages-only", action="store_true", help="leave the terminal as it is")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["MLFLOW_TRACKING_URI"] = ""
    with tempfile.TemporaryDirectory(prefix="hpo-pictures-") as home:
        ids = fill(home)
        with served(home) as url:
            shots(url, ids, options.out)
    if not options.pages_only:
        script = ROOT / "scripts" / "terminal_picture.py"
        subprocess.run([sys.executable, str(script), "--out", str(options.out / "terminal.svg")], check=True)
    for path in sorted(options.out.iterdir()):
        size = path.stat().st_size
        print(f"{path.name}: {size} bytes")
        if size > MOST_BYTES:
            sys.exit(f"{path}: a picture has at most {MOST_BYTES} bytes; show less of the page.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
