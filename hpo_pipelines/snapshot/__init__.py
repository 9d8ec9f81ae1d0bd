"""Code travels by value: taking a snapshot of a pipeline's code, and loading one again.

A snapshot carries the *sources* of the first-party modules that a pipeline reaches; what they define is pickled by
name. Only what has no name in a module (``__main__``, a notebook, a function inside a function) is pickled by value.

* :func:`capture` takes a snapshot.
* :func:`install` serves one in a worker process, under its own module names.
* :func:`load_private` loads one in a controller, beside the process's own modules of the same names.
* :func:`live` is the code of the current process.

Pickles written in the names of any of the three can be read in those of the others.
"""

from hpo_pipelines.snapshot.capture import Captured, capture
from hpo_pipelines.snapshot.code import Code, Locator, component_locator, live
from hpo_pipelines.snapshot.content import Content, Unit, identity
from hpo_pipelines.snapshot.loaded import remember
from hpo_pipelines.snapshot.private import load_private
from hpo_pipelines.snapshot.serving import install

__all__ = [
    "Captured",
    "Code",
    "Content",
    "Locator",
    "Unit",
    "capture",
    "component_locator",
    "identity",
    "install",
    "live",
    "load_private",
    "remember",
]
