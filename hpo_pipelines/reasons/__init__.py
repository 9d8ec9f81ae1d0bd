"""Why a step ran, or did not: read from what is recorded, in a person's words and as JSON.

Nothing of the user's code is loaded or run: old and new source come out of the recorded snapshots.
"""

from hpo_pipelines.reasons.explain import Compared, compared, why, why_run
from hpo_pipelines.reasons.reader import Execution, Fed, Reader
from hpo_pipelines.reasons.record import Change, Origin, Why

__all__ = ["Change", "Compared", "Execution", "Fed", "Origin", "Reader", "Why", "compared", "why", "why_run"]
