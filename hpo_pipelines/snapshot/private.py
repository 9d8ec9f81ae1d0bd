"""The code of a snapshot beside the process's own: modules that only its own import statements see.

A controller runs the body of an old pipeline in a process whose modules of the same names are newer, or are gone. So
the snapshot's modules live in a registry of their own, and their builtins hold an ``__import__`` that looks there
first. It covers import statements and ``importlib.import_module`` in the snapshot's code; a third-party library that
imports by name on its behalf gets the process's modules.

What cannot be left out is a module's entry in ``sys.modules``, which dataclasses, ``typing.get_type_hints`` and others
look up by a class's ``__module__``. Therefore a private module's name is a :class:`PrivateName`: it reads like the
plain name, and is another key.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import itertools
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any, ClassVar

from cloudpickle import cloudpickle as by_value

from hpo_pipelines.snapshot import codec
from hpo_pipelines.snapshot.closure import BY_VALUE
from hpo_pipelines.snapshot.code import Code, SnapshotCode, found_in
from hpo_pipelines.snapshot.content import Content
from hpo_pipelines.snapshot.imports import absolute
from hpo_pipelines.snapshot.modules import Shelves, UnitLoader, hide_lines, show_lines, spec_of
from hpo_pipelines.snapshot.names import PrivateName, Window


class PrivateCode(SnapshotCode):
    """A snapshot whose modules are seen only by each other."""

    def __init__(self, content: Content) -> None:
        super().__init__(content)
        self._mark = f"@{content.digest[:8]}"
        self._shelves = Shelves(content.modules, self._mark)
        self._modules: dict[str, ModuleType] = {}
        self._loading: set[str] = set()
        self._lock = threading.RLock()
        self._importlib = _Importlib(self)
        self._texts = {f"{name}{self._mark}": text for name, text in content.texts.items()}
        for unit in content.modules.values():
            if unit.origin is not None:
                self._texts[f"{unit.origin}{self._mark}"] = unit.source
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        number = next(_numbers)
        self.names: Mapping[str, PrivateName] = {name: PrivateName(name, number) for name in content.modules}
        self.main = self._make_main(PrivateName("__main__", number))
        show_lines(self._texts.items())
        self._shelves.put_up()
        keys = (*self.names.values(), self.main.__name__)
        weakref.finalize(self, _left, keys, tuple(self._texts), self._shelves).atexit = False

    def _make_main(self, name: PrivateName) -> ModuleType:
        """What stands for the ``__main__`` that the code by value is from; not this process's."""
        main, given = ModuleType(name), self.content.main
        if "file" in given:
            main.__file__ = given["file"]
        main.__spec__ = ModuleSpec(given["module"], None) if "module" in given else None
        main.__dict__["__builtins__"] = self.builtins
        sys.modules[name] = Window(main, self.inside(given.get("file", "")))
        return main

    def _name(self, names: Mapping[str, Any]) -> None:
        self.main.__dict__.update(names)

    def name(self, module: str) -> str:
        """The private name of a module of the snapshot, ``__main__`` included; any other name as it is."""
        plain = str(module)
        return self.main.__name__ if plain in BY_VALUE else self.names.get(plain, module)

    def owns(self, module: str) -> bool:
        return str(module) in self.content.modules

    def find(self, module: str, qualname: str) -> object:
        return found_in(self._modules.get(str(module)), qualname)

    def module(self, name: str) -> ModuleType:
        name = str(name)
        return self._load(name) if self.has(name) else importlib.import_module(name)

    def has(self, name: str) -> bool:
        """Whether an import of ``name`` is ours to answer, be it by an error."""
        return name.partition(".")[0] in self.content.modules

    def outside(self, filename: str) -> str:
        """The name that a file had where the snapshot was captured."""
        return filename.removesuffix(self._mark)

    def inside(self, filename: str) -> str:
        """The name under which tracebacks find this snapshot's version of a file; other files keep theirs."""
        marked = f"{filename}{self._mark}"
        return marked if marked in self._texts else filename

    def _load(self, name: str) -> ModuleType:
        """The private module ``name``, its parents first. Raises ImportError."""
        module = self._modules.get(name)
        if module is not None and name not in self._loading:
            return module
        with self._lock:
            module = self._modules.get(name)
            if module is not None:
                return module
            package, _, last = name.rpartition(".")
            parent = self._load(package) if package else None
            # The parent may have imported it, as any import of a package's __init__ can.
            module = self._modules.get(name)
            return self._execute(name, parent, last) if module is None else module

    def _execute(self, name: str, parent: ModuleType | None, last: str) -> ModuleType:
        spec = self._spec(name, parent)
        if spec is None:
            module = self._modules[name] = importlib.import_module(name)
            setattr(parent, last, module)
            return module
        module = importlib.util.module_from_spec(spec)
        if name in self.names:
            self._establish(module, name)
        # In this order: who finds a module that is not loading takes it without the lock.
        self._loading.add(name)
        self._modules[name] = module
        # Before the module runs, so that in a circle of imports `import a.b as c` never looks into sys.modules.
        if parent is not None:
            setattr(parent, last, module)
        try:
            if spec.loader is not None:
                spec.loader.exec_module(module)
            module = self._modules[name] = self._replaced(name, module)
        except BaseException:
            del self._modules[name]
            if parent is not None:
                parent.__dict__.pop(last, None)
            raise
        finally:
            self._loading.discard(name)
        if parent is not None:
            setattr(parent, last, module)
        return module

    def _replaced(self, name: str, module: ModuleType) -> ModuleType:
        """What ``module`` has put in its own place in ``sys.modules``, if it did."""
        shown = sys.modules.get(self.names[name]) if name in self.names else None
        return module if shown is None or isinstance(shown, Window) else shown

    def _spec(self, name: str, parent: ModuleType | None) -> ModuleSpec | None:
        """How to make ``name``; None for what only the process has, in a namespace package or a compiled one."""
        unit = self.content.modules.get(name)
        if unit is not None:
            filename = None if unit.origin is None else self.inside(unit.origin)
            return spec_of(self.names[name], unit, UnitLoader(unit, filename), self._shelves.folder(unit))
        package = self.content.modules.get(name.rpartition(".")[0])
        if package is None or package.is_namespace:
            return None
        for folder in getattr(parent, "__path__", ()):
            spec = self._shelves(folder).find_spec(name)
            if spec is not None:
                return spec
        raise ModuleNotFoundError(
            f"No module named {name!r} in {self}: no import statement named it when the snapshot was made.", name=name
        )

    def _establish(self, module: ModuleType, name: str) -> None:
        unit = self.content.modules[name]
        package = name if unit.is_package else name.rpartition(".")[0]
        module.__package__ = self.names.get(package, package)
        module.__dict__["__builtins__"] = self.builtins
        sys.modules[self.names[name]] = Window(module, "" if unit.origin is None else self.inside(unit.origin))

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """``__import__`` of the snapshot's code."""
        whole = absolute(name, level, str((globals or {}).get("__package__") or "")) or name
        if not self.has(whole):
            found = builtins.__import__(name, globals, locals, fromlist or (), level)
            return self._importlib if found is importlib else found
        module = self._load(whole)
        if not fromlist:
            return self._load(whole.partition(".")[0])
        if hasattr(module, "__path__"):
            for member in getattr(module, "__all__", ()) if "*" in fromlist else fromlist:
                if not hasattr(module, member):
                    self._load_member(f"{whole}.{member}")
        return module

    def _load_member(self, name: str) -> None:
        """Load the submodule ``name``, if it is one: ``from package import name`` says itself what is missing."""
        try:
            self._load(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise

    def _pickler(self, file: Any, buffer_callback: Callable[[Any], Any] | None) -> codec.Pickler:
        return _PrivatePickler(self, file, buffer_callback)

    def _unpickler(self, file: Any, buffers: Iterable[Any], *, redefine: bool) -> codec.Unpickler:
        return _PrivateUnpickler(self, file, buffers, is_code=redefine)


class _Importlib(ModuleType):
    """``importlib`` for a snapshot's code: ``import_module`` gives it its own modules."""

    def __init__(self, code: PrivateCode) -> None:
        super().__init__("importlib", importlib.__doc__)
        self._code = code

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        whole = importlib.util.resolve_name(str(name), None if package is None else str(package))
        return self._code.module(whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)


class _PrivatePickler(codec.Pickler):
    """Writes what a process with the captured files would write."""

    _names: PrivateCode

    def _reducers(self) -> dict[type, Any]:
        return {**super()._reducers(), CodeType: self._code}

    def _code(self, code: CodeType) -> Any:
        return by_value._code_reduce(code.replace(co_filename=self._names.outside(code.co_filename)))


class _PrivateUnpickler(codec.Unpickler):
    """Reads functions and classes by value as parts of the snapshot: their imports, their modules, their lines."""

    _names: PrivateCode

    def __init__(self, names: PrivateCode, file: Any, buffers: Iterable[Any], *, is_code: bool) -> None:
        # What this process knows of a class by value stays: it may be the very class that it goes on using.
        super().__init__(names, file, buffers, redefine=False)
        self._is_code = is_code

    def _builtin_type(self, name: str) -> Any:
        return self._code if name == "CodeType" else by_value._builtin_type(name)

    def _code(self, *args: Any) -> CodeType:
        code = CodeType(*args)
        return code.replace(co_filename=self._names.inside(code.co_filename))

    def _make_function(self, code: CodeType, globals: dict[str, Any], *args: Any) -> FunctionType:
        if str(globals.get("__name__")) in BY_VALUE:
            main = self._names.main
            globals.update(__name__=main.__name__, __spec__=main.__spec__)
            if self._is_code:
                main.__dict__.update(globals)
                globals = main.__dict__
        # A function keeps the builtins that it was made with.
        globals["__builtins__"] = self._names.builtins
        return FunctionType(code, globals, *args)

    def _function_state(self, function: FunctionType, state: Any) -> None:
        by_value._function_setstate(function, state)
        function.__globals__["__builtins__"] = self._names.builtins
        self._localize(function)

    def _fill_inner(self, function: FunctionType, state: Any) -> None:
        codec.fill_inner(function, state)
        self._localize(function)

    def _class_state(self, cls: Any, state: Any) -> Any:
        attributes, slots = state
        home = self._names.name(attributes.get("__module__", cls.__module__))
        return super()._class_state(cls, ({**attributes, "__module__": home}, slots))

    def _localize(self, function: FunctionType) -> None:
        function.__module__ = self._names.name(function.__module__)

    substitutes: ClassVar[Mapping[tuple[str, str], Callable[..., Any]]] = MappingProxyType(
        {
            **codec.Unpickler.substitutes,
            (codec.__name__, codec.fill_inner.__name__): _fill_inner,
            (by_value.__name__, by_value._builtin_type.__name__): _builtin_type,
            (by_value.__name__, by_value._make_function.__name__): _make_function,
            (by_value.__name__, by_value._function_setstate.__name__): _function_state,
            (by_value.__name__, by_value._class_setstate.__name__): _class_state,
        }
    )


_loaded: weakref.WeakValueDictionary[str, PrivateCode] = weakref.WeakValueDictionary()
_loading = threading.Lock()
_numbers = itertools.count()
_leftovers: deque[tuple[Iterable[str], Iterable[str], Shelves]] = deque()


def load_private(content: bytes) -> Code:
    """The snapshot ``content`` beside whatever this process has imported; one Code for each snapshot, while it is used.

    Raises CodeUnavailable if ``content`` is no snapshot.
    """
    decoded = Content.decode(content)
    with _loading:
        code = _loaded.get(decoded.digest)
        if code is None:
            _sweep()
            code = _loaded[decoded.digest] = PrivateCode(decoded)
        return code


def _left(names: Iterable[str], texts: Iterable[str], shelves: Shelves) -> None:
    # The garbage collector may come by while anyone walks over sys.modules, which must not change under their feet.
    _leftovers.append((names, texts, shelves))


def _sweep() -> None:
    """Remove what snapshots that are gone have left in the process: their names, and the lines of their sources."""
    while _leftovers:
        names, texts, shelves = _leftovers.popleft()
        for name in names:
            sys.modules.pop(name, None)
        hide_lines(texts)
        shelves.take_down()
