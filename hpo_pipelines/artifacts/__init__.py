"""The content-addressed store of outputs: what a step gives is kept once, under the digest of its bytes."""

from __future__ import annotations

from hpo_pipelines.artifacts.codec import CloudpickleCodec, Codec
from hpo_pipelines.artifacts.location import StoredFile
from hpo_pipelines.artifacts.preview import preview
from hpo_pipelines.artifacts.store import FORMATS, INLINE_LIMIT, ArtifactStore

__all__ = ["FORMATS", "INLINE_LIMIT", "ArtifactStore", "CloudpickleCodec", "Codec", "StoredFile", "preview"]
