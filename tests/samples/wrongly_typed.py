"""Mistakes that a type checker must find in decorated code; checked by tests/test_typing.py."""

from samples.typed import fit, load, trained

fit(load(3), 0.1)
trained(lrr=0.1)
length: str = load("x")
