"""Samplers on pipelines whose stages are kept, by a virtual clock: ``python -m benchmarks.samplers``."""
