"""What a run would do, before it does it: which steps would be reused, which would run, and for how long.

The body runs, traced, and no step does. Nothing is written to the store nor to the artifacts; what the body itself
does besides calling components (writing a file, say) it does in a plan as well.
"""

from hpo_pipelines.planning.durations import Durations
from hpo_pipelines.planning.following import reach
from hpo_pipelines.planning.matrix import Cell, Evidence, Reach
from hpo_pipelines.planning.planner import plan
from hpo_pipelines.planning.record import Plan, PlannedStep, Stop, Totals

__all__ = ["Cell", "Durations", "Evidence", "Plan", "PlannedStep", "Reach", "Stop", "Totals", "plan", "reach"]
