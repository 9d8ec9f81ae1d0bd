"""Adds up pytest's JUnit reports and prints one line: ``N passed, N failed``, and ``, N skipped`` where some were.

A report ``NAME.again.xml`` beside ``NAME.xml`` is of the tests that failed and were tried once more: what they gave
then counts. Exits 1 when a report is missing or counts a failure, so that a suite that never ran cannot pass for green.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def count(report: Path) -> dict[str, int]:
    """How many tests of ``report`` passed, failed (errors included) and were skipped."""
    total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in ElementTree.parse(report).iter("testsuite"):
        for name in total:
            total[name] += int(suite.get(name, "0"))
    failed = total["failures"] + total["errors"]
    return {"passed": total["tests"] - failed - total["skipped"], "failed": failed, "skipped": total["skipped"]}


def with_second_tries(report: Path) -> dict[str, int]:
    """:func:`count` of ``report``, a test that was tried again counted as it ended then."""
    first, again = count(report), report.with_suffix(".again.xml")
    if not again.is_file():
        return first
    second = count(again)
    untried = max(0, first["failed"] - sum(second.values()))
    return {
        "passed": first["passed"] + second["passed"],
        "failed": second["failed"] + untried,
        "skipped": first["skipped"] + second["skipped"],
    }


def main(paths: list[str]) -> int:
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        print(f"no report at {', '.join(missing)}: that suite did not run to its end")
    counts = [with_second_tries(Path(path)) for path in paths if path not in missing]
    total = {name: sum(each[name] for each in counts) for name in ("passed", "failed", "skipped")}
    print(", ".join(f"{number} {name}" for name, number in total.items() if number or name != "skipped"))
    return int(bool(missing or total["failed"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
