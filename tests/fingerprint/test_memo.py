"""A remembered fingerprint is given up when, and only when, something that it was made from changed."""

from __future__ import annotations

import types

import numpy as np
import pytest

import hpo_pipelines.fingerprint as module_under_test
from hpo_pipelines.fingerprint import code_fingerprint

CODE = """
import helpers
import numpy as np

RATE = 0.5
CONFIG = {"lr": 0.1, "layers": [1, 2]}
TABLE = np.arange(3)
STEPS = {"a": lambda x: x}

class Model:
    size = 3
    def run(self, x):
        return x

MODEL = Model()

def outer(amount):
    def inner(x, by=[1]):
        return x + amount + by[0]
    return inner

add = outer(1)

def fit(x, k=2):
    undefined_yet
    return helpers.scale(x) * RATE + CONFIG["lr"] + TABLE.sum() + STEPS["a"](x) + MODEL.run(x) + add(x)
"""


@pytest.fixture
def train(write, load):
    return load(write("project", {"train.py": CODE, "helpers.py": "def scale(x):\n    return x\n"}))


@pytest.fixture
def computed(monkeypatch):
    """Counts how often a fingerprint was computed anew."""
    count = types.SimpleNamespace(times=0)
    original = module_under_test.Reach

    def counting(*arguments):
        count.times += 1
        return original(*arguments)

    monkeypatch.setattr(module_under_test, "Reach", counting)
    return count


def rebind_global(train):
    train.RATE = 0.6


def rebind_helper(train):
    train.helpers.scale = lambda x: -x


def define_missing(train):
    train.undefined_yet = 1


def edit_dict(train):
    train.CONFIG["layers"].append(3)


def edit_array(train):
    train.TABLE[0] = 9


def replace_in_dict(train):
    train.STEPS["a"] = abs


def set_class_attribute(train):
    train.Model.size = 4


def patch_method(train):
    train.Model.run = lambda self, x: -x


def set_instance_attribute(train):
    train.MODEL.bias = 1


def change_default(train):
    train.fit.__defaults__ = (3,)


def edit_default(train):
    train.add.__defaults__[0][0] = 2


def change_cell(train):
    train.add.__closure__[0].cell_contents = 2


def change_code(train):
    train.helpers.scale.__code__ = (lambda x: x + 7).__code__


CHANGES = [
    rebind_global,
    rebind_helper,
    define_missing,
    edit_dict,
    edit_array,
    replace_in_dict,
    set_class_attribute,
    patch_method,
    set_instance_attribute,
    change_default,
    edit_default,
    change_cell,
    change_code,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_noticed(train, computed, change):
    before = code_fingerprint(train.fit)
    assert before.problems == ()
    assert code_fingerprint(train.fit) is before
    assert computed.times == 1
    change(train)
    after = code_fingerprint(train.fit)
    assert after.digest != before.digest
    assert computed.times == 2
    assert code_fingerprint(train.fit) is after


def test_what_the_code_does_not_read_may_change(train, computed):
    before = code_fingerprint(train.fit)
    train.something_else = 1
    train.helpers.other = 2
    assert code_fingerprint(train.fit) is before
    assert computed.times == 1


def test_a_rebinding_to_an_equal_value_gives_the_same_digest(train):
    before = code_fingerprint(train.fit)
    train.TABLE = np.arange(3)
    train.CONFIG = {"layers": [1, 2], "lr": 0.1}
    assert code_fingerprint(train.fit).digest == before.digest


def test_each_choice_of_first_party_is_remembered_apart(train, computed):
    assert code_fingerprint(train.fit) is not code_fingerprint(train.fit, first_party=["other"])
    assert code_fingerprint(train.fit, first_party=("other",)) is code_fingerprint(train.fit, first_party={"other"})
    assert computed.times == 2


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(module_under_test, "_KEPT", 3)
    functions = [eval(f"lambda: {number}") for number in range(6)]
    for function in functions:
        code_fingerprint(function)
    assert len(module_under_test._memo) <= 3


def test_an_array_that_nobody_can_write_into_is_digested_once(cell, monkeypatch):
    table = np.arange(1000)
    table.flags.writeable = False
    space = cell("def fit():\n    return TABLE, PAIRS\n", "<read only>", TABLE=table[1:], PAIRS=((1, "a"), (2.0, b"b")))
    found = code_fingerprint(space.fit)
    monkeypatch.setattr("hpo_pipelines.fingerprint.guards.value_digest", lambda value: pytest.fail("digested again"))
    assert code_fingerprint(space.fit) is found


@pytest.mark.parametrize("unlock", [False, True])
def test_an_array_that_somebody_can_write_into_is_digested_each_time(cell, unlock):
    table = np.arange(1000)
    view = table[:]
    view.flags.writeable = False
    if unlock:
        table.flags.writeable = False
    space = cell("def fit():\n    return TABLE\n", f"<writable {unlock}>", TABLE=view)
    before = code_fingerprint(space.fit)
    table.flags.writeable = True
    table[0] = 7
    assert code_fingerprint(space.fit).digest != before.digest
