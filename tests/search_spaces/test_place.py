from __future__ import annotations

import pytest

from search_spaces.errors import SpaceError
from search_spaces.place import Place

FILE = Place((), "space.yaml", {(): 1, ("lr",): 3, ("lr", "low"): 4})


@pytest.mark.parametrize(
    ("place", "line", "message"),
    [
        (FILE, 1, "space.yaml:1: wrong"),
        (FILE.at("lr", "low"), 4, "space.yaml:4: lr.low: wrong"),
        (FILE.at("lr").at("high"), 3, "space.yaml:3: lr.high: wrong"),
        (FILE.at("depth", "choices", 2), 1, "space.yaml:1: depth.choices.2: wrong"),
        (Place((), "space.yaml"), None, "space.yaml: wrong"),
        (Place(("lr",)), None, "lr: wrong"),
        (Place(), None, "wrong"),
    ],
)
def test_an_error_names_file_line_and_key(place: Place, line: int | None, message: str) -> None:
    error = place.error("wrong")
    assert (str(error), error.line, error.file, error.path) == (message, line, place.file, place.path)


def test_errors_raised_inside_are_led_to_their_place() -> None:
    with pytest.raises(SpaceError, match=r"^space\.yaml:4: lr\.low: wrong$") as caught, FILE.at("lr").locating():
        raise SpaceError("wrong", path=("low",))
    assert (caught.value.path, caught.value.line) == (("lr", "low"), 4)


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), FILE.locating():
        raise KeyError("x")
