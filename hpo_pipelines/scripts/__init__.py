"""Commands, scripts and notebooks as components: files go in, files and metrics come out."""

from hpo_pipelines.scripts.commands import Command, command, notebook

__all__ = ["Command", "command", "notebook"]
