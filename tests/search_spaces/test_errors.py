from __future__ import annotations

import pickle

from search_spaces import SpaceError


def test_it_is_a_value_error_that_knows_where() -> None:
    error = SpaceError("wrong", path=("lr", "low"), file="a.yaml", line=3)
    assert isinstance(error, ValueError)
    assert str(error) == "wrong"
    assert (error.path, error.file, error.line) == (("lr", "low"), "a.yaml", 3)


def test_it_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(SpaceError("wrong", path=("lr",), file="a.yaml", line=3)))
    assert (str(error), error.path, error.file, error.line) == ("wrong", ("lr",), "a.yaml", 3)
