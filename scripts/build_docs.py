"""Builds the site of docs/ into build/docs: hand-written pages, the generated reference, a navigation over all of it.

    .venv/bin/python scripts/build_docs.py            # as `make docs` does; a link that leads nowhere ends it
    .venv/bin/python scripts/build_docs.py --stage    # only lays out what would be built, in .state/site

Pages are staged because some of them exist only there (scripts/reference.py writes them from the code as it is), and
because links out of docs/, which work in the repository, have to lead to copies.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / ".state" / "site"
SITE = ROOT / "build" / "docs"
PROJECT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")
"""Pages that stand beside docs/, not in it."""
LINK = re.compile(r"(\]\()([^)#\s]+)([^)]*\))")
LOADED = re.compile(
    r'<(?:script|img|iframe)\b[^>]*?\bsrc="?(https?:[^"> ]+)'
    r'|<link\b(?=[^>]*\brel="?(?:stylesheet|preload|icon))[^>]*?\bhref="?(https?:[^"> ]+)'
)


def staged_name(path: Path) -> Path:
    """Where the file at ``path`` of the repository stands in the site."""
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "docs":
        return relative.relative_to("docs")
    return Path("project" if relative.as_posix() in PROJECT_PAGES else "files", relative)


def stage(root: Path = STAGE) -> dict[str, Any]:
    """Lay everything out below ``root``; returns the configuration of the build, which is written there too."""
    import reference

    shutil.rmtree(root, ignore_errors=True)
    pages = root / "docs"
    shutil.copytree(ROOT / "docs", pages)
    for page in [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in PROJECT_PAGES)]:
        target = pages / staged_name(page)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(relinked(page, pages), "utf-8")
    reference.write(pages / "reference")
    config = configuration(pages)
    YAML(typ="safe").dump(config, root / "mkdocs.yml")
    return config


def relinked(page: Path, pages: Path) -> str:
    """The text of ``page`` with links that lead out of docs/ led to copies below ``pages``, which are made."""

    def led(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / match[2]))
        if "://" in match[2] or not target.is_relative_to(ROOT) or not target.is_file():
            return match[0]
        name = staged_name(target)
        if name.parts[0] == "files":
            (pages / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, pages / name)
        return f"{match[1]}{os.path.relpath(name, staged_name(page).parent)}{match[3]}"

    return LINK.sub(led, page.read_text("utf-8"))


def configuration(pages: Path) -> dict[str, Any]:
    """mkdocs.yml for the pages below ``pages``: globs of its navigation spelt out, and what it forgot under "More".

    Exits with the name of a page of the navigation that is not there, or that stands in it twice.
    """
    config: dict[str, Any] = YAML(typ="safe").load(ROOT / "mkdocs.yml")
    nav = [item for entry in config["nav"] for item in spelt_out(entry, pages)]
    named = list(names_in(nav))
    for name in named:
        if not (pages / name).is_file():
            sys.exit(f"mkdocs.yml: the nav names {name}, and there is no such page.")
        if named.count(name) > 1:
            sys.exit(f"mkdocs.yml: the nav names {name} twice.")
    forgotten = sorted({path.relative_to(pages).as_posix() for path in pages.rglob("*.md")} - set(named))
    if forgotten:
        nav.append({"More": forgotten})
    api = config["plugins"][-1]["mkdocstrings"]["handlers"]["python"]
    api["paths"] = [str(ROOT)]
    api["options"]["extensions"] = [str(ROOT / name) for name in api["options"]["extensions"]]
    return {**config, "docs_dir": "docs", "site_dir": "html", "nav": nav}


def spelt_out(entry: Any, pages: Path) -> list[Any]:
    """``entry`` of a navigation with globs replaced by the files that they name, an index page first."""
    if isinstance(entry, dict):
        ((title, inner),) = entry.items()
        if isinstance(inner, str):
            return [entry]
        return [{title: [item for each in inner for item in spelt_out(each, pages)]}]
    if "*" not in entry:
        return [entry]
    found = [path.relative_to(pages).as_posix() for path in pages.glob(entry) if path.suffix == ".md"]
    return sorted(found, key=lambda name: (not name.endswith("index.md"), name))


def names_in(nav: list[Any]) -> Iterator[str]:
    """The pages that a spelt out navigation names."""
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            (inner,) = entry.values()
            yield from names_in([inner] if isinstance(inner, str) else inner)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--stage", action="store_true", help="build nothing")
    options = arguments.parse_args()
    config = stage()
    print(f"{STAGE.relative_to(ROOT)}: {len(list(names_in(config['nav'])))} pages")
    if options.stage:
        return 0
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", str(STAGE / "mkdocs.yml")]
    done = subprocess.run(command, cwd=STAGE, check=False)
    if done.returncode != 0:
        return done.returncode
    for place in foreign(STAGE / "html"):
        sys.exit(f"{place}: the site has to work without a network; take that out, or bring it along.")
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.copytree(STAGE / "html", SITE)
    place = SITE.relative_to(ROOT)
    print(f"{place}/index.html; `python -m http.server -d {place}` has its search work too")
    return 0


def foreign(site: Path) -> Iterator[str]:
    """What pages of ``site`` load from elsewhere: where, and what."""
    for page in sorted(site.rglob("*.html")):
        for found in LOADED.finditer(page.read_text("utf-8")):
            yield f"{page.relative_to(site)} loads {found[1] or found[2]}"


if __name__ == "__main__":
    sys.exit(main())
