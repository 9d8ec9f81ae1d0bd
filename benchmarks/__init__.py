"""How much the project costs beside a hand-written floor, measured in one call: ``python -m benchmarks``."""
