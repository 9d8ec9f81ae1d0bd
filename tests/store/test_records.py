from __future__ import annotations

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_pipelines.store.records import from_json, plain, to_json

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json)
def test_json_comes_back_as_it_was_and_is_plain_text(value: object) -> None:
    text = to_json(value)
    assert text.isascii()
    assert "\0" not in text
    assert from_json(text) == value


def test_any_mapping_is_an_object_and_nothing_else_is_taken_for_one() -> None:
    assert to_json(MappingProxyType({"a": MappingProxyType({})})) == '{"a":{}}'
    with pytest.raises(TypeError, match="set is not JSON"):
        to_json({"a": {1}})


@given(st.text())
def test_plain_text_fits_every_database_and_changes_nothing_else(text: str) -> None:
    assert "\0" not in plain(text)
    plain(text).encode()
    if "\0" not in text:
        assert plain(text) == text


def test_plain_text_shows_what_it_could_not_keep() -> None:
    assert plain("a\0b\udc80ü") == "a\ufffdb\\udc80ü"
