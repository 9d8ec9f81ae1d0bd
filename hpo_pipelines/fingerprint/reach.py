"""Following code: from one function to every first-party function, class and constant that it reaches."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from blake3 import blake3

from hpo_pipelines.fingerprint.bytecode import names_in, normal_code
from hpo_pipelines.fingerprint.classes import class_body, namespace_of
from hpo_pipelines.fingerprint.guards import MISSING, Guards, names_of, parts_of_function
from hpo_pipelines.fingerprint.normal import Chain, Import
from hpo_pipelines.fingerprint.scope import (
    Scope,
    absolute_name,
    bound_by,
    file_of_module,
    import_from,
    module_label,
    project_of,
    scope_of,
)
from hpo_pipelines.fingerprint.source import Sources, text_of_file
from hpo_pipelines.fingerprint.tokens import Tokens
from hpo_pipelines.firstparty import is_first_party

_SHOWN = 4000
"""How much of a constant is kept to be read, in characters."""

_REFERENCES = ("function ", "class ", "external ", "module ")


class Reach:
    """What was reached so far; :meth:`follow` goes on until nothing new is.

    ``parts`` and ``sources`` are by name (``module:qualname``); ``externals`` are the names of modules of
    distributions; ``problems`` name values without an identity.
    """

    def __init__(self, first_party: Collection[str]) -> None:
        self.parts: dict[str, str] = {}
        self.sources: dict[str, Callable[[], str]] = {}
        self.externals: dict[str, None] = {}
        self.problems: dict[str, None] = {}
        self.guards = Guards()
        self.root = ""
        self._first_party = first_party
        self._ours: dict[str, bool] = {}
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._constants: dict[tuple[str, int], str] = {}
        self._files = Sources()
        self._tokens_by_chain: dict[tuple[int, int], dict[Chain, str | None]] = {}
        self._projects: dict[int, str] = {}
        self._pending: deque[tuple[str, Any]] = deque()
        self._tokens = Tokens(self)

    def follow(self, target: object, at: str) -> str:
        """What ``target`` is, with everything that it reaches among the parts."""
        token = self._tokens.of(target, at)
        while self._pending:
            name, item = self._pending.popleft()
            if isinstance(item, FunctionType):
                self._visit_function(item, name)
            elif isinstance(item, type):
                self._visit_class(item, name)
            else:
                self._visit_module(item, name)
        return token

    # What Tokens asks for.

    def is_ours(self, module: str) -> bool:
        if module not in self._ours:
            self._ours[module] = is_first_party(module, self._first_party)
        return self._ours[module]

    def is_compiled(self, module: str) -> bool:
        file = getattr(sys.modules.get(module), "__file__", None)
        return isinstance(file, str) and file.endswith(tuple(EXTENSION_SUFFIXES)) and self.is_ours(module)

    def function(self, function: FunctionType, at: str) -> str:
        qualname, place = function.__code__.co_qualname, at.partition(":")[2]
        # Where a lambda is kept says more than that it is one.
        lambda_at = place if qualname.endswith("<lambda>") and place else qualname
        return self._named(function, function.__globals__, lambda_at)

    def class_(self, cls: type) -> str:
        return self._named(cls, namespace_of(cls), cls.__qualname__)

    def module(self, module: ModuleType) -> str:
        name = str(module.__name__)
        if not self.is_ours(name):
            self.external(name)
            return name
        return self._named(module, vars(module), "*")

    def external(self, module: str) -> None:
        self.externals[module] = None

    def problem(self, at: str, value: object, why: str) -> str:
        self.problems[f"{at} {why}"] = None
        return f"unknown {type(value).__module__}.{type(value).__qualname__}"

    def _named(self, item: Any, namespace: Mapping[str, Any], qualname: str) -> str:
        name = self._names.get(id(item))
        if name is None:
            name = self._names[id(item)] = self._unique(f"{module_label(namespace)}:{qualname}")
            self.guards.keep(item)
            self._pending.append((name, item))
        return name

    def _unique(self, label: str) -> str:
        name, count = label, 1
        while name in self._taken:
            count += 1
            name = f"{label}#{count}"
        self._taken.add(name)
        return name

    def _close(self, name: str, lines: Iterable[str], source: Callable[[], str] | None) -> None:
        text = "\n".join(lines)
        self.parts[name] = blake3(text.encode("utf-8", "surrogatepass")).hexdigest()
        if source is not None:
            self.sources[name] = source

    def _project(self, namespace: Mapping[str, Any]) -> str:
        if id(namespace) not in self._projects:
            self.guards.keep(namespace)
            self._projects[id(namespace)] = project_of(namespace)
        return self._projects[id(namespace)]

    # Functions.

    def _visit_function(self, function: FunctionType, name: str) -> None:
        self.guards.members(function, parts_of_function)
        self.root = self._project(function.__globals__)
        code = function.__code__
        found = self._files.definition(code, function.__globals__)
        normal = found[0].normal(found[1]) if found else None
        normal = normal or normal_code(code, function.__doc__)
        scope = scope_of(function, name, found[0] if found else None)
        lines = [normal.digest]
        for decorator in normal.decorators:
            counted = decorator.outputs if self._is_our_decorator(scope, decorator.chain) else decorator.normal
            if counted is not None:
                lines += ["decorator", counted.digest, *self._looked_up(scope, counted.chains)]
        lines += [self._import(scope, statement) for statement in normal.imports]
        seen = names_in(code) | scope.imports.keys()
        lines += self._looked_up(scope, normal.signature)
        lines += self._looked_up(scope, (chain for chain in normal.chains if chain[0] in seen))
        lines += self._defaults(function, scope)
        wrapped = function.__dict__.get("__wrapped__")
        if wrapped is not None:
            lines.append(f"wraps {self._tokens.of(wrapped, name)}")
        self._close(name, lines, partial(found[0].segment, found[1]) if found else None)

    def _defaults(self, function: FunctionType, scope: Scope) -> Iterator[str]:
        """Default values count by value: an expression may stay the same and mean something else."""
        code, positional = function.__code__, function.__defaults__ or ()
        names = code.co_varnames[: code.co_argcount][code.co_argcount - len(positional) :]
        for name, value in [*zip(names, positional, strict=True), *sorted((function.__kwdefaults__ or {}).items())]:
            yield f"default {name} {self._value(value, f'{scope.name}({name}=)', name)}"

    def _is_our_decorator(self, scope: Scope, chain: Chain) -> bool:
        """Whether a decorator is ``component`` or ``pipeline`` of this project, whatever it is called there."""
        if not chain:
            return False
        value, _ = scope.find(chain[0], self.guards)
        if (
            value is MISSING and scope.text is not None
        ):  # A function by value has the names that its body uses, no more.
            return scope.text.imports.get(chain[0], ("",))[0].partition(".")[0] == "hpo_pipelines"
        for attribute in chain[1:]:
            value = getattr(value, attribute, MISSING) if isinstance(value, ModuleType) else MISSING
        while isinstance(value, partial):
            value = value.func
        return str(getattr(value, "__module__", "")).startswith("hpo_pipelines.")

    # Classes.

    def _visit_class(self, cls: type, name: str) -> None:
        self.guards.members(cls, names_of)
        body = class_body(cls, self._files)
        self.root = self._project(body.namespace)
        scope = Scope(name, body.namespace, body.text)
        lines = [body.normal.digest]
        lines += [self._import(scope, statement) for statement in body.normal.imports]
        # Names that are local to the class body, or to a method that has no function any more, are not to be found.
        lines += self._looked_up(scope, body.normal.chains, only_found=True)
        lines += [f"base {self._tokens.of(base, name)}" for base in (*cls.__bases__, type(cls))]
        for attribute, value in body.attributes(self._tokens.owns, self._tokens.is_data):
            lines.append(f"{attribute} {self._value(value, f'{name}.{attribute}', attribute)}")
        module = sys.modules.get(cls.__module__)
        if module is not None and self.is_compiled(cls.__module__):
            lines.append(self.module(module))
        self._close(name, lines, body.source)

    # Modules as a whole: handed around, or looked into by getattr.

    def _visit_module(self, module: ModuleType, name: str) -> None:
        self.guards.members(module, names_of)
        file = file_of_module(vars(module))
        text = None if file is None else text_of_file(file, vars(module))
        lines = ["" if text is None else text.whole.digest]
        if text is None and file is not None and Path(file).is_file():
            lines.append(blake3(Path(file).read_bytes()).hexdigest())
        for attribute, value in sorted(vars(module).items()):
            if getattr(value, "__module__", None) == module.__name__ and isinstance(value, FunctionType | type):
                lines.append(f"{attribute} {self._tokens.of(value, f'{name}.{attribute}')}")
        self._close(name, lines, None if text is None else partial(getattr, text, "text"))

    # Names.

    def _looked_up(self, scope: Scope, chains: Iterable[Chain], *, only_found: bool = False) -> Iterator[str]:
        # What a name stands for in a module is one thing for all of its functions, unless one has its own.
        shared = self._tokens_by_chain.setdefault((id(scope.namespace), id(scope.text)), {})
        for chain in chains:
            if chain[0] in scope.cells or chain[0] in scope.imports:
                token = self._chain(scope, chain)
            elif chain in shared:
                token = shared[chain]
            else:
                token = shared[chain] = self._chain(scope, chain)
            if token is not None and not (only_found and token == "unbound"):
                yield f"{'.'.join(chain)} = {token}"

    def _chain(self, scope: Scope, chain: Chain) -> str | None:
        """What a name, and the attributes taken of it as far as they lead through modules, stand for."""
        root, *rest = chain
        if root.startswith("__") and root.endswith("__") and root not in scope.cells:
            return None  # __name__, __file__: where the code is, not what it does.
        value, label = scope.find(root, self.guards)
        if value is MISSING:
            value = scope.imported(root)
        if value is MISSING:
            return None if scope.has_builtin(root) else "unbound"
        namespace, name, text = scope.namespace, root, scope.text
        while isinstance(value, ModuleType) and rest:
            namespace, name, text = vars(value), rest.pop(0), None
            ours = self.is_ours(str(value.__name__))
            found = namespace.get(name, MISSING)
            if not ours and not isinstance(found, ModuleType):
                return f"module {self.module(value)}"
            if ours:
                self.guards.name(namespace, name, found)
            label = f"{module_label(namespace)}:{name}"
            value = _attribute(value, name) if found is MISSING else found
        if value is MISSING:
            return "unbound"
        if isinstance(value, ModuleType | FunctionType | type) or root in scope.cells or root in scope.imports:
            return self._value(value, label, name)
        home = self._home(namespace, name, value, text)
        return home if home is not None and home.startswith("external ") else self._value(value, home or label, name)

    def _value(self, value: object, label: str, name: str) -> str:
        """What ``value`` is: a reference, or the part ``label`` that holds what it is."""
        known = self._constants.get((label, id(value)))
        if known is None:
            token = self._tokens.of(value, label)
            if token.startswith(_REFERENCES):
                return token
            known = self._constants[label, id(value)] = f"constant {self._unique(label)}"
            self.guards.keep(value)
            self._close(known.removeprefix("constant "), [token], partial(_shown, name, value))
        return known

    def _home(self, namespace: Mapping[str, Any], name: str, value: object, text: Any = None) -> str | None:
        """Where ``namespace[name]`` was imported from: a label, or what stands for something of a distribution."""
        if text is None:
            file = file_of_module(namespace)
            text = None if file is None else text_of_file(file, namespace)
        module_name, level, attribute = ("", 0, "") if text is None else text.imports.get(name, ("", 0, ""))
        if not attribute:
            return None
        statement = Import(module_name, level, attribute, name)
        absolute = absolute_name(namespace, statement)
        try:
            module = import_from(namespace, statement)
        except Exception:  # noqa: BLE001 - a fallback was bound in its place; where it comes from is its own business
            return None
        if vars(module).get(attribute, MISSING) is not value:
            return None
        if not self.is_ours(absolute):
            self.external(absolute)
            return f"external {absolute}:{attribute}"
        return self._home(vars(module), attribute, value) or f"{module_label(vars(module))}:{attribute}"

    def _import(self, scope: Scope, statement: Import) -> str:
        """An import statement inside the code: binds what it imports, for the names that follow."""
        absolute = absolute_name(scope.namespace, statement)
        if not self.is_ours(absolute):
            self.external(absolute)
            return f"import {absolute}"
        try:
            module, value = bound_by(scope.namespace, statement)
        except ImportError:
            return f"import {absolute}: absent"
        except Exception as error:  # noqa: BLE001 - a module's own code may raise anything
            return self.problem(scope.name, error, f"imports {absolute}, which raises {error!r}")
        label = module_label(vars(module))
        if not statement.name:
            scope.imports[statement.alias] = (value, label)
            return f"import {label}"
        self.guards.name(vars(module), statement.name, value)
        scope.imports[statement.alias] = (value, f"{label}:{statement.name}")
        if value is MISSING or isinstance(value, ModuleType):
            return f"from {label} import {statement.name}"
        return f"from {label} import {self._value(value, f'{label}:{statement.name}', statement.name)}"


def _attribute(module: ModuleType, name: str) -> object:
    """An attribute that a module has not got yet: a submodule, or what its own ``__getattr__`` gives."""
    found = sys.modules.get(f"{module.__name__}.{name}", MISSING)
    if found is not MISSING or "__getattr__" not in vars(module):
        return found
    try:
        return getattr(module, name, MISSING)
    except Exception:  # noqa: BLE001 - somebody's __getattr__; the code itself will hear what is wrong
        return MISSING


def _shown(name: str, value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - somebody's __repr__; this is for reading only
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return f"{name} = {text if len(text) <= _SHOWN else f'{text[:_SHOWN]} …'}"
