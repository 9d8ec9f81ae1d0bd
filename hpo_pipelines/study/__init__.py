"""Optimisation: a study clones and reruns the whole pipeline with sampled parameters."""

from hpo_pipelines.study.analysis import Analysis
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.resumption import resume
from hpo_pipelines.study.start import optimize

__all__ = ["Analysis", "Study", "optimize", "resume"]
