"""Search spaces: what the parameters of a study may be, in Python, YAML, TOML, JSON or on a command line.

A pure package: it knows neither pipelines nor samplers, and speaks Optuna's words (low, high, log, step, choices).

    from search_spaces import Categorical, Float, Int, Space

    Space({
        "lr": Float(1e-5, 1e-1, log=True),
        "encoder": Categorical(["onehot", "hash"]),
        "hash_bits": Int(8, 16, when={"encoder": "hash"}),
        "seed": 7,
    })
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_spaces.conditions import Condition
    from search_spaces.constraints import Constraint
    from search_spaces.distributions import Categorical, Distribution, Fixed, Float, Int
    from search_spaces.errors import SpaceError
    from search_spaces.files import dump, dumps, gallery, load, loads
    from search_spaces.inference import distribution_of, parse_assignment, parse_distribution
    from search_spaces.space import Space

__all__ = [
    "Categorical",
    "Condition",
    "Constraint",
    "Distribution",
    "Fixed",
    "Float",
    "Int",
    "Space",
    "SpaceError",
    "distribution_of",
    "dump",
    "dumps",
    "gallery",
    "load",
    "loads",
    "parse_assignment",
    "parse_distribution",
]

# Imported at first use: whoever only needs the error (a command line showing its help) pays for nothing else.
_HOMES = {
    **dict.fromkeys(("Categorical", "Distribution", "Fixed", "Float", "Int"), "distributions"),
    **dict.fromkeys(("distribution_of", "parse_assignment", "parse_distribution"), "inference"),
    **dict.fromkeys(("dump", "dumps", "gallery", "load", "loads"), "files"),
    "Condition": "conditions",
    "Constraint": "constraints",
    "Space": "space",
    "SpaceError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
