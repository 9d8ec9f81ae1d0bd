"""Optimisation: a study clones and reruns the whole pipeline with sampled parameters."""

from hpo_pipelines.study.analysis import Analysis
from hpo_pipelines.study.forecast import plan_study
from hpo_pipelines.study.handle import Study
from hpo_pipelines.study.planned import PlanComparison, StudyPlan
from hpo_pipelines.study.requests import continue_trial, enqueue, extend, is_driven, stop
from hpo_pipelines.study.resumption import resume
from hpo_pipelines.study.start import optimize

__all__ = [
    "Analysis", "PlanComparison", "Study", "StudyPlan", "continue_trial", "enqueue", "extend", "is_driven", "optimize",
    "plan_study", "resume", "stop",
]  # fmt: skip
