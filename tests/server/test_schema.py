"""The whole schema against a real server that knows one token: schemathesis makes up requests and judges answers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from samples import shown
from server_process import start

from hpo_pipelines import Float, Workspace, optimize
from hpo_pipelines.server.roles import Role, rules
from hpo_pipelines.server.tokens import TokenFile

pytestmark = pytest.mark.integration

EXAMPLES = 8
VALID, INVALID = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            # No schema says which parameters a run takes, or what a cursor is; a made-up ETag is of no version.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "404", "409", "410", "412", "422"]},
            "negative_data_rejection": {"expected-statuses": ["400", "401", "404", "405", "409", "412", "422"]},
        },
        # As everywhere on the web, what nobody asked for in a query is not looked at.
        "generation": {"allow-extra-parameters": False},
    }
)
OPERATIONS = sorted(
    {(method, path) for method, path, _ in rules() if path.startswith("/api/v1/") and "openapi.json" not in path}
)


@dataclass(frozen=True)
class Subject:
    schema: Any
    headers: dict[str, str]
    ids: dict[str, list[str]]
    """What stands in the place of a parameter of the path: what is there, beside what schemathesis makes up."""
    doomed: dict[str, list[str]]
    """The same for what deletes, where it is not to take what others ask about."""


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    home = tmp_path_factory.mktemp("schema")
    (home / "config.toml").write_text('executor = "inline"\n')
    tokens = TokenFile(home / "tokens.json")
    headers = {"Authorization": f"Bearer {tokens.create('fuzz', Role.AUTHOR)}"}
    with Workspace(home=home) as place:
        run = place.run(shown.churn, {"rows": 4})
        failed = run.clone(broken=True).run()
        study = optimize(run, {"lr": Float(0.1, 1.0)}, "fit.auc", n_trials=2, name="lr", progress=False)
        spare = [
            optimize(run, {"lr": [0.1]}, "fit.auc", n_trials=1, name=f"spare {i}", progress=False) for i in range(9)
        ]
        drafts = [run.clone(rows=number).id for number in range(5, 45)]
        fit = run.steps["fit"].id
        digest = next(iter(place.store.tasks.outputs(fit).values())).digest
    server = start(home, "--no-mlflow", "--token-file", str(tokens.path))
    # What is submitted waits: its runs are not what is looked at here.
    httpx2.patch(f"{server.url}/api/v1/queues/services", json={"paused": True}, headers=headers).raise_for_status()
    schema = schemathesis.openapi.from_url(f"{server.url}/api/v1/openapi.json", headers=headers, config=CONFIG)
    ids = {
        "run": [run.id, failed.id, quote(run.label, safe=""), *drafts],
        "step": ["fit", "load"],
        "task": [run.id, fit, study.id],
        "name": ["controller", "fit.1"],
        "study": [study.id, "lr"],
        "digest": [digest],
        "queue": ["services", "default"],
        "project": ["shop"],
        "pipeline": ["churn"],
        "number": ["0", "1", "2"],
    }
    yield Subject(schema, headers, ids, {**ids, "study": [each.id for each in spare]})
    server.stop()


def test_the_schema_has_what_the_table_has(subject: Subject) -> None:
    found = {(each.ok().method.upper(), each.ok().path) for each in subject.schema.get_all_operations()}
    assert found == set(OPERATIONS)


# A query is text, of which the last value counts: what does not fit one is for the bodies.
ASKED = [(*each, VALID) for each in OPERATIONS] + [
    (*each, INVALID) for each in OPERATIONS if each[0] in ("POST", "PATCH")
]


@pytest.mark.parametrize(("method", "path", "mode"), ASKED)
def test_nothing_is_found(subject: Subject, method: str, path: str, mode: schemathesis.GenerationMode) -> None:
    operation = subject.schema[path][method]
    chance, ids = random.Random(f"{method} {path}"), subject.doomed if method == "DELETE" else subject.ids

    @seed(1)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        for name in case.path_parameters or {}:
            if chance.random() < 0.6:
                case.path_parameters[name] = chance.choice(ids[name])
        case.call_and_validate(headers=subject.headers, timeout=60)

    ask()
