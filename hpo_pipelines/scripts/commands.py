"""Commands, scripts and notebooks as components."""

from __future__ import annotations

import base64
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from hpo_pipelines.component import Component, Options, component
from hpo_pipelines.errors import CommandFailed, DefinitionError
from hpo_pipelines.reporting import report
from hpo_pipelines.scripts.folder import WorkingFolder
from hpo_pipelines.scripts.process import run
from hpo_pipelines.scripts.template import MISSING, Placeholder, Template
from hpo_pipelines.snapshot.beside import Beside, inside
from hpo_pipelines.snapshot.loaded import remember
from hpo_pipelines.types import KeyPart

EXECUTED = "notebook"
"""The output of a notebook that holds it as it was executed."""


@dataclass(frozen=True)
class Script:
    """What a command is: how it is called, what it finds in its working directory, and what it leaves there."""

    name: str
    template: Template
    parameters: tuple[Placeholder, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    metrics: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    notebook: str | None = None
    """The notebook that is executed, where this is one."""

    def words(self, values: Mapping[str, Any]) -> list[str]:
        """The command with ``values`` in it."""
        if self.notebook is None:
            paths = {**self.inputs, **self.outputs}
            given = {name: str(value) for name, value in values.items() if name not in paths}
            return self.template.filled({**given, **paths})
        given = {**{name: value for name, value in values.items() if name not in self.inputs}, **self.inputs}
        encoded = base64.b64encode(json.dumps(given).encode()).decode("ascii")  # JSON is YAML
        left = self.outputs[EXECUTED]
        return [
            sys.executable,
            "-m",
            "papermill",
            self.notebook,
            left,
            "-b",
            encoded,
            "--no-progress-bar",
            "--log-output",
        ]

    def __call__(self, values: Mapping[str, Any]) -> dict[str, Path] | None:
        """Run it in a folder of its own; what it left, by name. Raises CommandFailed."""
        if self.notebook is not None and importlib.util.find_spec("papermill") is None:
            raise CommandFailed(
                f"{self.name} is a notebook, and papermill, which executes it, is not installed where the step runs: "
                "pip install 'hpo-pipelines[notebooks]'."
            )
        place = WorkingFolder()
        for name, content in self.files.items():
            place.put_file(name, content)
        for name, where in self.inputs.items():
            place.put_input(name, where, values[name])
        for where in (*self.outputs.values(), *([self.metrics] if self.metrics else [])):
            place.make_room(where)
        run(self.words(values), place.path, self.name)
        if self.metrics is not None:
            _report(place.read_json(self.metrics, self.name))
        return place.take(self.outputs, self.name) if self.outputs else None

    def key_parts(self) -> Iterator[KeyPart]:
        """What of it counts in keys, beside its arguments: how it is called, and each of its files."""
        said = [*self.template.words, str(self.template.shell), self.notebook, self.metrics]
        placed = [sorted(self.inputs.items()), sorted(self.outputs.items())]
        yield KeyPart("command", blake3(json.dumps([said, placed]).encode()).hexdigest())
        for name, content in sorted(self.files.items()):
            yield KeyPart(name, blake3(content).hexdigest())

    @property
    def text(self) -> str:
        """It, to be read: how it is called, and its files; of one that is no text, the digest."""
        shown = [f"# {self.name}\n{self.notebook or self.template.text}\n"]
        for what, places in (("input", self.inputs), ("output", self.outputs)):
            shown += [f"# {what} {name}: {where}\n" for name, where in places.items()]
        shown += [f"# metrics: {self.metrics}\n"] if self.metrics else []
        for name, content in sorted(self.files.items()):
            shown.append(f"\n# {name}\n{_readable(content)}")
        return "".join(shown)


class Command(Component[..., Any]):
    """A component that runs a command; made by :func:`command` and :func:`notebook`."""

    def __init__(self, script: Script, options: Options, module: str) -> None:
        self.script = script
        super().__init__(_function(script, module), options)

    @property
    def text(self) -> str:
        """What it is, to be read."""
        return self.script.text

    def __reduce__(self) -> Any:
        return Command, (self.script, self.options, str(self.__module__))


def command(
    command: str,
    *,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    metrics: str | None = None,
    files: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    name: str | None = None,
    shell: bool = False,
    **options: Any,
) -> Command:
    """A component that runs ``command`` in a working directory of its own.

    ``command`` is split into words once; each ``{name}`` in it (``{lr:float}``, ``{lr:float=0.1}``) is an argument of
    the component, put in as text and never split or read by a shell, unless ``shell=True`` asks for one, which then
    gets it quoted. ``params`` gives arguments defaults. ``inputs`` says where in the working directory an argument is
    put, ``{"data": "data.csv"}``: a Path, bytes, a table or plain values. ``outputs`` says what the command leaves
    there, ``{"model": "out/model.bin"}``: files or folders, which the component gives as a dict of Paths. The names of
    both may stand in the command for these paths. ``metrics`` names a JSON file whose numbers are reported, nested ones
    with dots, lists as series.

    Files beside the module that the command names, and those in ``files`` (names, folders, patterns), are put there too
    and travel with the code: their bytes are part of the key. ``name`` is the component's, by default that of the
    script; the other options are those of :func:`hpo_pipelines.component`.

    An exit code other than 0, and a missing output, raise CommandFailed in the step. Raises DefinitionError for what
    cannot be a command.
    """
    beside = Beside.of(_caller())
    template = Template.of(command, shell=shell)
    script = Script(name or _name_of(template), template, (), dict(inputs or {}), dict(outputs or {}), metrics)
    found = _found(beside, files)
    for word in () if shell else template.words:
        found |= _named(beside, word)
    return _made(replace(script, files=found), dict(params or {}), options, beside)


def notebook(
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    metrics: str | None = None,
    files: Sequence[str] = (),
    name: str | None = None,
    **options: Any,
) -> Command:
    """A component that executes the notebook ``path``, which lies beside the module, through papermill.

    ``params`` are its arguments with their defaults, which papermill puts below the cell tagged ``parameters``; an
    input is given there as the path at which it lies. The executed notebook is the output ``notebook``. Everything else
    is as for :func:`command`. Needs the extra ``hpo-pipelines[notebooks]`` where the step runs; without it the step
    fails, and says so.
    """
    beside = Beside.of(_caller())
    found = {**_found(beside, (path,)), **_found(beside, files)}
    executed = {EXECUTED: f"executed/{Path(path).name}", **(outputs or {})}
    script = Script(
        name or _identifier(Path(path).stem), Template.of("papermill"), (), dict(inputs or {}), executed, metrics
    )
    return _made(replace(script, files=found, notebook=inside(path)), dict(params or {}), options, beside)


# -- making one


def _caller() -> Mapping[str, Any]:
    """The namespace of the module that defines the component."""
    return sys._getframe(2).f_globals


def _made(script: Script, params: dict[str, Any], options: Mapping[str, Any], beside: Beside) -> Command:
    for kind, places in (("input", script.inputs), ("output", script.outputs)):
        for name, where in places.items():
            if not isinstance(name, str) or not name.isidentifier() or not isinstance(where, str):
                raise DefinitionError(
                    f"{kind}s: {name!r}: {where!r}: it is a name and a path in the working directory."
                )
            inside(where)
    both = sorted(set(script.inputs) & set(script.outputs))
    if both:
        raise DefinitionError(f"{both[0]} is among both inputs and outputs of {script.name}; rename one.")
    if script.metrics is not None:
        inside(script.metrics)
    parameters = tuple(_parameters(script, params))
    made = replace(script, parameters=parameters)
    beside.keep(made.files)
    remember(beside.module)
    chosen = component(**options)(_unnamed).options
    cache = replace(chosen.cache, depends=(*chosen.cache.depends, *made.key_parts()))
    return Command(made, replace(chosen, cache=cache, outputs=tuple(made.outputs)), beside.module)


def _unnamed() -> None:
    """Stands for the function that options are read for."""


def _parameters(script: Script, params: dict[str, Any]) -> Iterator[Placeholder]:
    paths = {*script.inputs, *script.outputs}
    there = list(script.template.placeholders()) if script.notebook is None else [Placeholder(name) for name in params]
    known = {placeholder.name for placeholder in there} - paths
    for name in params:
        if name not in known:
            raise DefinitionError(
                f"params: {script.name} has no {{{name}}}; it has {', '.join(sorted(known)) or 'none'}."
            )
    for placeholder in there:
        if placeholder.name in script.inputs or placeholder.name not in paths:
            given = params.get(placeholder.name, MISSING)
            if given is MISSING:
                yield placeholder
            else:
                kind = placeholder.type if placeholder.type is not MISSING else type(given)
                yield Placeholder(placeholder.name, kind, given)


def _function(script: Script, module: str) -> Callable[..., Any]:
    signature = _signature(script)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return script(bound.arguments)

    call.__name__ = call.__qualname__ = script.name
    call.__module__ = module
    call.__doc__ = f"Runs {script.notebook or script.template.text}."
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {"return": dict if script.outputs else None}
    return call


def _signature(script: Script) -> inspect.Signature:
    """Inputs first, then what has to be given, then what has a default."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [inspect.Parameter(name, kind) for name in script.inputs]
    rest = [
        inspect.Parameter(each.name, kind, default=each.default, annotation=each.type)
        for each in script.parameters
        if each.name not in script.inputs
    ]
    return inspect.Signature([*found, *sorted(rest, key=lambda each: each.default is not MISSING)])


def _found(beside: Beside, names: Sequence[str]) -> dict[str, bytes]:
    if isinstance(names, str):
        raise DefinitionError(f"files={names!r}: files is a list of names; write [{names!r}].")
    found: dict[str, bytes] = {}
    for name in names:
        there = beside.find(name)
        if not there:
            known = ", ".join(beside.names()[:30]) or "nothing"
            raise DefinitionError(f"files: there is no {name!r} beside {beside.module}; there: {known}.")
        found |= there
    return found


def _named(beside: Beside, word: str) -> dict[str, bytes]:
    """The file that a word of the command names, if it names one."""
    try:
        return beside.find(word) if not set(word) & set("{*?[") and (Path(word).suffix or "/" in word) else {}
    except DefinitionError:  # it leads elsewhere: a program, an option
        return {}


def _name_of(template: Template) -> str:
    """That of the script in a command, else of the program."""
    words = template.text.split() if template.shell else template.words
    script = next((word for word in words if Path(word).suffix in (".py", ".sh", ".R", ".jl", ".pl", ".js")), words[0])
    return _identifier(Path(script).stem)


def _identifier(text: str) -> str:
    made = "".join(letter if letter.isalnum() else "_" for letter in text)
    return made if made.isidentifier() else f"run_{made}"


# -- what one leaves


def _report(content: Any, prefix: str = "") -> None:
    """Report the numbers in ``content``: of a dict with dots, of a list one after the other. Anything else is named."""
    if isinstance(content, Mapping):
        for name, value in content.items():
            _report(value, f"{prefix}.{name}" if prefix else str(name))
    elif isinstance(content, list):
        for step, value in enumerate(content):
            if _is_number(value):
                report(prefix, value, step=step)
    elif _is_number(content) and prefix:
        report(prefix, content)
    else:
        print(f"metric {prefix or 'without a name'} is no number, and not reported: {content!r:.100}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _readable(content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return f"({len(content)} bytes, {blake3(content).hexdigest()})\n"
    return text if text.endswith("\n") else f"{text}\n"
