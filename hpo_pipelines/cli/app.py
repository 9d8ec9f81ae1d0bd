"""The command group: each command is imported when it is called, so that ``hpo --help`` answers at once."""

from __future__ import annotations

import difflib
import importlib
import keyword
from typing import Any

import click

# name → (module, one line for the list of commands). The line stands here so that the list needs no module.
COMMANDS = {
    "run": ("runs", "Run a pipeline, or a component alone: MODULE:NAME or FILE.py:NAME."),
    "chain": ("chain", "Run a chain of recorded tasks, from its file."),
    "optimize": ("studies", "Tune a pipeline, or a run, over a search space."),
    "ls": ("listing", "List runs, newest first."),
    "show": ("listing", "Show a run: parameters, steps, metrics; or one of its steps; or a study."),
    "why": ("why", "Say why the steps of a run were reused, or ran; or one of them, with what changed."),
    "plan": ("plan", "Say which steps of a run would be reused and which would run, without running any."),
    "logs": ("logs", "Print the console of a run or of one of its steps; -f follows it."),
    "clone": ("runs", "Clone a run with other parameters, and run the clone."),
    "rerun": ("runs", "Run again with the same code and parameters."),
    "resume": ("runs", "Go on with an interrupted or failed run."),
    "abort": ("runs", "Stop a run, wherever it is driven from."),
    "enqueue": ("queues", "Have a pipeline, or a draft, wait in a queue for an agent."),
    "queues": ("queues", "Show queues, what waits in them and who listens; pause or limit them."),
    "schedule": ("schedules", "Have runs and studies started by the clock, or when something happens."),
    "agent": ("queues", "Take runs from queues and drive them."),
    "submit": ("submit", "Run a pipeline, or any of these commands, on a Ray cluster; follow and stop it."),
    "best": ("studies", "Show the best trial of a study."),
    "studies": ("studies", "List studies."),
    "study": ("study_group", "Look at a study, export it, stop it wherever it is driven from, extend it."),
    "optuna-dashboard": ("dashboard", "Open Optuna's own dashboard on a study, or on all."),
    "compare": ("compare", "Compare runs: differences only, unless --all."),
    "rm": ("removal", "Delete runs and studies."),
    "archive": ("removal", "List runs and studies no more, and keep them."),
    "restore": ("removal", "List archived runs and studies again."),
    "import": ("imports", "Record runs of one's past, from MLflow or Optuna, as runs of a pipeline."),
    "space": ("spaces", "List, show and import search spaces."),
    "cache": ("cache", "Look at what is kept for reuse, shrink it, and check it."),
    "up": ("up", "Serve the pages, REST and MLflow on one port."),
    "token": ("token", "Make, list and revoke tokens for a server that others reach."),
    "mlflow": ("tracking", "Open MLflow's pages on our runs."),
    "completion": ("completion", "Print the completion script for bash, zsh or fish."),
}


class ReaderGone(Exception):
    """Whoever read our output has gone. Not a BrokenPipeError, which click would take for its own business."""


class _Group(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"hpo_pipelines.cli.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from hpo_pipelines.errors import OUTCOMES

        codes = ", ".join(f"{outcome.exit_code} {error.__name__}" for error, outcome in OUTCOMES.items())
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [
                    ("0, 2", "Done; wrong usage."),
                    ("10 to 13", "A run, or a study, whose own code failed, was lost, took too long, or was aborted."),
                    ("130", "Interrupted by Ctrl-C; 143 by SIGTERM."),
                    ("errors", f"{codes}."),
                ]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], list(COMMANDS), 1)
            if near and "Did you mean" not in error.message:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None
            raise

    def invoke(self, ctx: click.Context) -> Any:
        from hpo_pipelines.errors import HpoPipelinesError

        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None
        except HpoPipelinesError as error:
            from hpo_pipelines.cli.options import show_json_error

            show_json_error(ctx, error)
            raise


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="hpo-pipelines", prog_name="hpo")
def hpo() -> None:
    """Tune whole machine-learning pipelines: run, clone, optimise and compare them.

    Runs are recorded under $HPO_HOME (default ~/.hpo_pipelines). A run is called like churn#48, or churn for the latest
    one; a step of it like churn#48/fit.
    """
