"""``python -m hpo_pipelines``: the command line."""

from hpo_pipelines.cli import main

main()
