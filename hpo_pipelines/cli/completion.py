"""Completion in the shell: the scripts, and what completes the names of runs, steps and studies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hpo_pipelines.store import Store, TaskFilter

_MOST = 50


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> int:
    """Print the completion script of a shell.

    \b
    bash  eval "$(hpo completion bash)" in ~/.bashrc
    zsh   eval "$(hpo completion zsh)" in ~/.zshrc
    fish  hpo completion fish > ~/.config/fish/completions/hpo.fish
    """
    from click.shell_completion import get_completion_class

    from hpo_pipelines.cli.app import hpo

    made = get_completion_class(shell)
    assert made is not None, "click completes these three"
    script = made(hpo, {}, "hpo", "_HPO_COMPLETE")
    click.echo(script.source_template % script.source_vars())
    return 0


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files, as the shell completes them."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_run(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest runs whose name begins like ``incomplete``; behind a run's name and a slash, its steps."""
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.types import Kind

    run, slash, _ = incomplete.rpartition("/")
    if slash and "#" in run:
        return _steps(run, incomplete, f"{run}/")
    return _items(TaskFilter(kind=Kind.PIPELINE, top=True), incomplete)


def complete_step(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The steps of the run named before."""
    # Behind an option whose value is still to come, click has not yet told arguments apart.
    reference = ctx.params.get("reference") or next(iter(ctx.args), None)
    return _steps(reference, incomplete, "") if reference else []


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The newest studies whose name begins like ``incomplete``."""
    from hpo_pipelines.store import TaskFilter
    from hpo_pipelines.types import Kind

    return _items(TaskFilter(kind=Kind.STUDY), incomplete)


def _items(wanted: TaskFilter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from hpo_pipelines.errors import HpoPipelinesError

    store = _store()
    if store is None:
        return []
    try:
        tasks = store.tasks.list(wanted, limit=20 * _MOST)
    except HpoPipelinesError:  # of a server
        return []
    named = [task for task in tasks if task.label.startswith(incomplete)][:_MOST]
    return [CompletionItem(task.label, help=str(task.status)) for task in named]


def _steps(run: str, incomplete: str, prefix: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from hpo_pipelines.errors import HpoPipelinesError
    from hpo_pipelines.task import names_within

    store = _store()
    if store is None:
        return []
    try:
        children = store.tasks.children(store.tasks.find(run).id)
    except HpoPipelinesError:
        return []
    names = names_within(children)
    named = [(f"{prefix}{names[task.id]}", task) for task in children]
    return [CompletionItem(name, help=str(task.status)) for name, task in named if name.startswith(incomplete)]


def _store() -> Store | None:
    """The store, if there is one that can be read: whoever presses Tab does not want to hear of errors, nor wait."""
    from hpo_pipelines.errors import HpoPipelinesError
    from hpo_pipelines.settings import Settings
    from hpo_pipelines.store import Store

    try:
        settings = Settings.load()
        if settings.server:
            from hpo_pipelines.remote.connection import Connection
            from hpo_pipelines.remote.store import RemoteStore

            return RemoteStore(Connection(settings.server, tries=1))
        return Store.open(settings.store, create=False)
    except (HpoPipelinesError, OSError):
        return None
