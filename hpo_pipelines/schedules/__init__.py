"""Schedules: runs and studies that agents start by the clock, or when something happens; each firing exactly once."""

from hpo_pipelines.schedules.adding import Policy, add_run, add_study
from hpo_pipelines.schedules.firing import Firing
from hpo_pipelines.schedules.trigger import After, Clock, Tagged, trigger_of

__all__ = ["After", "Clock", "Firing", "Policy", "Tagged", "add_run", "add_study", "trigger_of"]
