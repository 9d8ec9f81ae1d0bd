"""``hpo token``: who may use the server from elsewhere, and as what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from hpo_pipelines.cli.options import json_option, print_json

if TYPE_CHECKING:
    from hpo_pipelines.server.tokens import TokenFile

ROLES = ("viewer", "runner", "author")
"""Those of :mod:`hpo_pipelines.server.roles`, which is not imported for `--help`."""

_file_option = click.option(
    "--token-file", metavar="FILE", help="Where tokens are kept; $HPO_HOME/tokens.json unless given."
)


@click.group()
def token() -> None:
    """Make, list and revoke tokens for `hpo up --token-file FILE`.

    A viewer looks at everything; a runner also starts, stops and archives runs; an author also sends code and deletes.
    """


@token.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its holder may.")
@click.option("--name", required=True, help="Whose it is; the pages show it.")
@_file_option
@json_option
def create(*, role: str, name: str, token_file: str | None, as_json: bool) -> int:
    """Make a token and show it, this once: only its digest is kept."""
    from hpo_pipelines.server.tokens import role_called

    file = _file(token_file)
    text = file.create(name, role_called(role))
    if as_json:
        print_json({"token": text, "name": name, "role": role, "token_file": str(file.path)})
    else:
        click.echo(text)
        click.echo(
            f"It is not shown again. {name} is {role} wherever `hpo up --token-file {file.path}` serves: "
            "HPO_TOKEN for programs, /login for a browser.",
            err=True,
        )
    return 0


@token.command()
@_file_option
@json_option
def ls(*, token_file: str | None, as_json: bool) -> int:
    """List the tokens: their names, roles and ages, not themselves."""
    file = _file(token_file)
    found = file.tokens()
    if as_json:
        rows = [{"name": one.name, "role": str(one.role), "created_at": one.created_at} for one in found]
        print_json({"token_file": str(file.path), "tokens": rows})
        return 0
    if not found:
        click.echo(f"No tokens in {file.path}: `hpo token create --role viewer --name NAME` makes one.", err=True)
        return 0
    width = max(len(one.name) for one in found)
    for one in found:
        click.echo(
            f"{one.name:{width}}  {one.role!s:6}  {time.strftime('%Y-%m-%d %H:%M', time.localtime(one.created_at))}"
        )
    return 0


@token.command()
@click.argument("name")
@_file_option
@json_option
def rm(*, name: str, token_file: str | None, as_json: bool) -> int:
    """Revoke the token called NAME: a running server refuses it from its next request on."""
    gone = _file(token_file).remove(name)
    if as_json:
        print_json({"removed": gone.name, "role": str(gone.role)})
    else:
        click.echo(f"revoked {gone.name} ({gone.role})")
    return 0


def _file(path: str | None) -> TokenFile:
    from hpo_pipelines.server.tokens import TokenFile
    from hpo_pipelines.settings import Settings

    return TokenFile(path if path is not None else Settings.load().home / "tokens.json")
