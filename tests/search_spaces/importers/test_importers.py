from __future__ import annotations

from pathlib import Path

import pytest

from search_spaces import Float, SpaceError
from search_spaces.importers import import_file, import_space

SWEEP = """\
method: bayes
parameters:
  lr:
    distribution: log_uniform_values
    min: 1e-5
    max: 1e-1
"""


def test_a_file_is_recognised_by_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    assert import_file(path).space["lr"] == Float(1e-5, 1e-1, log=True)
    assert import_file(path, "wandb").format == "wandb"
    overrides = tmp_path / "command.txt"
    overrides.write_text("lr=tag(log, interval(1e-5, 1e-1))\n")
    assert import_file(overrides).format == "hydra"


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP.replace("max: 1e-1", "max: big"))
    with pytest.raises(SpaceError, match=r"sweep\.yaml:6: parameters\.lr\.max: a bound is a finite number; got 'big'"):
        import_file(path)
    path.write_text(SWEEP.replace("max: 1e-1", "max: 1e-7"))
    with pytest.raises(SpaceError, match=r"sweep\.yaml:\d: parameters\.lr(\.low)?: low must not exceed high"):
        import_file(path)
    with pytest.raises(SpaceError, match="the file cannot be read"):
        import_file(tmp_path / "none.yaml")


def test_an_unknown_shape_or_format_says_what_there_is() -> None:
    with pytest.raises(SpaceError, match=r"the shape of none of katib, wandb, .* needs no import"):
        import_space({"lr": {"low": 0, "high": 1}})
    with pytest.raises(SpaceError, match=r"got 'wadnb'\. Did you mean 'wandb'"):
        import_space({}, "wadnb")
    with pytest.raises(SpaceError, match="has not the shape of nni"):
        import_space({"parameters": {"x": {"value": 1}}}, "nni")
