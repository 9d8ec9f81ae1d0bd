"""Names of modules and of what they hold."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any


def attribute(holder: Any, qualname: str) -> Any:
    """``holder.a.b`` for ``a.b``. Raises AttributeError."""
    for part in qualname.split("."):
        holder = getattr(holder, part)
    return holder


class PrivateName(str):
    """The name of a module of one private snapshot: equal to the plain text, yet another key of a dict.

    The hash differs on purpose, so that ``sys.modules`` can hold this module beside one of the plain name. Pickles as
    plain text.
    """

    __slots__ = ("_hash",)
    _hash: int

    def __new__(cls, name: str, owner: int) -> PrivateName:
        self = super().__new__(cls, name)
        self._hash = hash((owner, str(name)))
        return self

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    def __reduce_ex__(self, protocol: Any) -> tuple[type[str], tuple[str]]:
        return self.__reduce__()


class Window(ModuleType):
    """A private module as ``sys.modules`` shows it, without keeping it alive: old code goes when nobody runs it.

    Its ``__file__`` is where the module's text is found (in ``linecache``); the module's own is where its file was.
    """

    def __init__(self, module: ModuleType, filename: str) -> None:
        super().__setattr__("_module", weakref.ref(module))
        super().__setattr__("_filename", filename)
        super().__setattr__("_name", module.__name__)

    def __getattribute__(self, name: str) -> Any:
        own = super().__getattribute__
        if name == "__file__":
            return own("_filename")
        if name == "__name__":
            return own("_name")
        module = own("_module")()
        if module is None:
            raise AttributeError(f"{name}: the snapshot of this module is no longer loaded")
        return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(super().__getattribute__("_module")(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(super().__getattribute__("_module")(), name)
