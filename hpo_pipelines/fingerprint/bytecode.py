"""Code without source as its meaning: a digest of its instructions and constants, and the names that it looks at.

Instructions depend on the version of Python, and in details on the formatting of the source, so this identity is only
for code whose source is not to be had: it may tell apart what :mod:`hpo_pipelines.fingerprint.normal` does not.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

from blake3 import blake3

from hpo_pipelines.fingerprint.normal import Chain, Import, Normal

_MEANING = 0xFFFF_FFFF & ~0x0400_0000  # Whether the first constant is a docstring (3.13) is no meaning.
_ROOTS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})


def normal_code(code: CodeType, doc: str | None) -> Normal:
    """The normal form of ``code``, the body of a function whose docstring is ``doc``."""
    text = "\n".join(_words(code, doc))
    chains: dict[Chain, None] = {}
    imports: dict[Import, None] = {}
    for inner in _nested(code):
        chains.update(dict.fromkeys(_chains(inner)))
        imports.update(dict.fromkeys(_imports(inner)))
    return Normal(blake3(text.encode("utf-8", "surrogatepass")).hexdigest(), tuple(chains), tuple(imports))


@lru_cache(maxsize=4096)
def names_in(code: CodeType) -> frozenset[str]:
    """Every name that ``code`` and the code inside it may look up outside their own local variables."""
    return frozenset(name for inner in _nested(code) for name in inner.co_names) | frozenset(code.co_freevars)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _words(code: CodeType, doc: str | None) -> Iterator[str]:
    yield f"{code.co_name} {code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount}"
    yield f"{code.co_flags & _MEANING} {code.co_code.hex()} {code.co_exceptiontable.hex()}"
    for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
        yield " ".join(names)
    for index, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            yield from _words(constant, None)
        else:
            is_doc = index == 0 and isinstance(doc, str) and constant == doc
            yield _constant(None if is_doc else constant)


def _constant(value: object) -> str:
    if isinstance(value, frozenset):
        return f"frozenset {sorted(map(_constant, value))}"
    if isinstance(value, tuple):
        return f"tuple {[_constant(item) for item in value]}"
    return f"{type(value).__name__} {value!r}"


def _chains(code: CodeType) -> Iterator[Chain]:
    chain: list[str] = []
    for instruction in dis.get_instructions(code):
        if chain and instruction.opname in _ATTRIBUTES:
            chain.append(instruction.argval)
            continue
        if chain:
            yield tuple(chain)
        root = instruction.opname in _ROOTS or instruction.opname.startswith("LOAD_FAST")
        chain = [instruction.argval] if root and isinstance(instruction.argval, str) else []


def _imports(code: CodeType) -> Iterator[Import]:
    """Import statements: dots and names as constants, IMPORT_NAME, then an IMPORT_FROM and a STORE for each name."""
    before: list[dis.Instruction] = []
    module, level, name, listed, bound = "", 0, "", False, True
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level = next((word.argval for word in before if isinstance(word.argval, int)), 0)
            listed = any(isinstance(word.argval, tuple) for word in before)
            module, name, bound = instruction.argval, "", False
        elif instruction.opname == "IMPORT_FROM":
            name, bound = instruction.argval if listed else "", False
        elif instruction.opname.startswith("STORE_") and not bound:
            yield Import(module, level, name, instruction.argval)
            bound = True
        before = [*before[-1:], instruction]
