"""Who may ask what: tokens, proxies, cookies, roles; every route of the application stands in the one table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from samples import shown

from hpo_pipelines import Workspace
from hpo_pipelines.errors import ConfigError
from hpo_pipelines.run import Run
from hpo_pipelines.server import create_app
from hpo_pipelines.server.access import Access, Proxy
from hpo_pipelines.server.launch import Address, check
from hpo_pipelines.server.proxy import MlflowProxy
from hpo_pipelines.server.roles import Policy, Role, asks_only, rules
from hpo_pipelines.server.tokens import TokenFile
from hpo_pipelines.settings import Settings
from hpo_pipelines.tracking import MlflowServer

BASE = "http://127.0.0.1:8264"
Clients = Callable[..., TestClient]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(home=tmp_path_factory.mktemp("access")) as opened:
        yield opened


@pytest.fixture(scope="module")
def run(workspace: Workspace) -> Run:
    return workspace.run(shown.markup, {}, executor="inline")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenFile:
    return TokenFile(tmp_path_factory.mktemp("tokens") / "tokens.json")


@pytest.fixture(scope="module")
def known(tokens: TokenFile) -> dict[str, str]:
    """A token of each role."""
    return {str(role): tokens.create(str(role), role) for role in Role}


@pytest.fixture(scope="module")
def app(workspace: Workspace, tokens: TokenFile, known: dict[str, str]) -> FastAPI:
    proxy = Proxy.of("X-Forwarded-User", ["10.1.0.0/16"])
    return create_app(workspace, access=Access(tokens, proxy), hosts=("127.0.0.1", "team.example"))


@pytest.fixture
def client(app: FastAPI, known: dict[str, str]) -> Clients:
    def made(role: str | None = None, *, peer: str = "192.0.2.7", **headers: str) -> TestClient:
        if role is not None:
            headers["Authorization"] = f"Bearer {known[role]}"
        return TestClient(app, base_url=BASE, client=(peer, 50_000), headers=headers, follow_redirects=False)

    return made


# -- every route


def routes(app: FastAPI) -> set[tuple[str, str]]:
    """(method, path) of every route there is."""
    found = set()
    for each in iter_route_contexts(app.routes):
        path = str(each.path)
        if path == "/static":
            found |= {("GET", "/static/{path:path}"), ("HEAD", "/static/{path:path}")}
        found |= {(method, path) for method in each.methods or ()}
    return found


@pytest.fixture(scope="module")
def whole(workspace: Workspace, app: FastAPI) -> FastAPI:
    """The application with MLflow's routes, which need no MLflow to be looked at."""
    server = MlflowServer(Settings.load(workspace.home, {}))
    app.include_router(MlflowProxy(server).router)
    return app


def test_every_route_has_its_role_and_no_line_is_left_over(whole: FastAPI) -> None:
    declared = {(method, path) for method, path, _ in rules()}
    there = routes(whole) - {("GET", "/mlflow/")}  # one of what stands below /mlflow/ in the table
    assert there - declared == set(), "a route needs its line in hpo_pipelines/server/roles.py"
    assert declared - there == set()


def role_of(method: str, path: str) -> Role | None:
    return Policy().methods(re.sub(r"\{[^}]*\}", "x", path))[method]


def test_looking_is_a_viewers_changing_a_runners_and_code_and_deleting_an_authors(whole: FastAPI) -> None:
    for method, path in sorted(routes(whole)):
        role = role_of(method, path)
        if path.startswith(("/static", "/login", "/logout")):
            assert role is None, path
        elif method in ("GET", "HEAD", "OPTIONS"):
            loads_code = path in ("/runs/{run}/new", "/runs/{run}/study", "/studies/{study}/enqueue")
            assert role == (Role.RUNNER if loads_code else Role.VIEWER), (method, path)
        elif path == "/api/v1/snapshots" or "delete" in path or (method == "DELETE" and path.startswith("/api/")):
            assert role is Role.AUTHOR, (method, path)
        else:
            assert role is Role.RUNNER, (method, path)


@pytest.mark.parametrize("role", [None, "viewer", "runner", "author"])
def test_each_route_refuses_whoever_has_less(whole: FastAPI, client: Clients, role: str | None) -> None:
    asking = client(role)
    for method, path in sorted(routes(whole)):
        wanted = role_of(method, path)
        if path.startswith("/mlflow") or path == "/api/v1/events":
            continue
        place = re.sub(r"\{[^}]*\}", "x", path)
        status = asking.request(method, place).status_code
        if wanted is not None and role is None:
            assert status == 401, (method, path)
        elif wanted is not None and Role[str(role).upper()] < wanted:
            assert status == 403, (method, path)
        else:
            assert status not in (401, 403) or path == "/login", (method, path)


def test_a_route_that_nobody_declared_is_not_answered(workspace: Workspace, app: FastAPI, client: Clients) -> None:
    app.add_api_route("/api/v1/forgotten", lambda: {"secret": 1})
    app.add_api_route("/api/v1/runs", lambda: {"secret": 1}, methods=["DELETE"])
    answer = client("author").get("/api/v1/forgotten")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    answer = client("author").delete("/api/v1/runs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    app.router.routes[:] = [each for each in app.router.routes if getattr(each, "path", "") != "/api/v1/forgotten"]
    app.router.routes[:] = [each for each in app.router.routes if getattr(each, "path", "") != "/api/v1/runs"]


# -- who one is


def test_nobody_is_told_anything_without_a_token(client: Clients, run: Run) -> None:
    answer = client().get(f"/api/v1/runs/{run.id}")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert run.id not in answer.text
    assert client().get("/api/v1/nowhere").status_code == 401


@pytest.mark.parametrize(
    "sent", ["Bearer hpo_wrong", "Bearer hpo_", "Basic eDp5", "Bearer", "hpo_wrong", "Bearer \xff"]
)
def test_what_is_no_token_is_refused(client: Clients, sent: str) -> None:
    headers = {"Authorization": sent.encode("latin-1")}
    assert client().get("/api/v1/runs", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_token_says_who_one_is(client: Clients) -> None:
    assert client("runner").get("/api/v1/me").json() == {"name": "runner", "role": "runner", "by": "token"}


def test_a_refusal_names_the_role_and_the_cure(client: Clients) -> None:
    detail = client("viewer").delete("/api/v1/runs/x").json()["detail"]
    assert "role author (who sends code, and deletes)" in detail
    assert "hpo token create --role author" in detail


def test_a_token_that_is_revoked_is_refused_by_the_next_request(client: Clients, tokens: TokenFile) -> None:
    asking = client(Authorization=f"Bearer {tokens.create('leaver', Role.VIEWER)}")
    assert asking.get("/api/v1/runs").status_code == 200
    tokens.remove("leaver")
    assert asking.get("/api/v1/runs").status_code == 401


def test_while_the_file_is_open_to_others_nobody_comes_in(client: Clients, tokens: TokenFile) -> None:
    asking = client("viewer")
    tokens.path.chmod(0o644)
    assert asking.get("/api/v1/runs").status_code == 401
    tokens.path.chmod(0o600)
    assert asking.get("/api/v1/runs").status_code == 200


def test_without_tokens_whoever_is_on_this_machine_is_author(workspace: Workspace) -> None:
    with TestClient(create_app(workspace), base_url=BASE) as asking:
        assert asking.get("/api/v1/me").json() == {"name": "", "role": "author", "by": "local"}
        assert asking.get("/login", follow_redirects=False).headers["location"] == "/"


# -- browsers


def test_a_browser_logs_in_and_out(client: Clients, known: dict[str, str]) -> None:
    browser = client(Accept="text/html")
    answer = browser.get("/runs/x?view=steps")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fruns%2Fx%3Fview%3Dsteps")
    assert 'value="/runs/x?view=steps"' in browser.get(answer.headers["location"]).text
    answer = browser.post("/login", data={"token": f" {known['viewer']}\n", "next": "/studies"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "Secure" not in cookie
    page = browser.get("/studies")
    assert page.status_code == 200
    assert 'data-role="viewer"' in page.text
    assert browser.get("/api/v1/me").json()["by"] == "cookie"
    assert browser.post("/logout").headers["location"] == "/login"
    assert browser.get("/studies").status_code == 303


def test_a_wrong_token_keeps_one_out(client: Clients) -> None:
    browser = client(Accept="text/html")
    answer = browser.post("/login", data={"token": "hpo_wrong", "next": "/"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert browser.post("/login", content=b"token=" + b"x" * 5000).status_code == 413


@pytest.mark.parametrize(
    "place", ["https://evil.example/", "//evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b"]
)
def test_logging_in_leads_nowhere_else(client: Clients, known: dict[str, str], place: str) -> None:
    answer = client().post("/login", data={"token": known["viewer"], "next": place})
    assert answer.headers["location"] == "/"


def test_another_sites_page_logs_nobody_in(client: Clients, known: dict[str, str]) -> None:
    headers = {"Origin": "https://evil.example"}
    answer = client().post("/login", data={"token": known["viewer"]}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


# -- a proxy


def test_a_proxy_is_believed_and_nobody_else(client: Clients) -> None:
    named = {"X-Forwarded-User": "ada@team.example"}
    asking = client(peer="10.1.2.3", **named)
    assert asking.get("/api/v1/me").json() == {"name": "ada@team.example", "role": "viewer", "by": "proxy"}
    assert client(peer="::ffff:10.1.2.3", **named).get("/api/v1/me").status_code == 200
    assert client(peer="10.2.0.1", **named).get("/api/v1/me").status_code == 401
    assert client(peer="10.1.2.3").get("/api/v1/me").status_code == 401
    # Whatever a visitor writes into other headers, it is the connection's own address that counts.
    assert client(peer="10.2.0.1", **{"X-Forwarded-For": "10.1.2.3"}, **named).get("/api/v1/me").status_code == 401


def test_a_header_that_came_twice_names_nobody(client: Clients) -> None:
    headers = [("X-Forwarded-User", "ada"), ("X-Forwarded-User", "eve")]
    assert client(peer="10.1.2.3").get("/api/v1/me", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_token_says_more_than_the_proxy(client: Clients) -> None:
    asking = client("runner", peer="10.1.2.3", **{"X-Forwarded-User": "ada"})
    assert asking.get("/api/v1/me").json()["role"] == "runner"
    foreign = client(peer="10.1.2.3", **{"X-Forwarded-User": "ada", "Authorization": "Bearer eyJ.of.the.proxy"})
    assert foreign.get("/api/v1/me").json()["by"] == "proxy"
    revoked = client(peer="10.1.2.3", **{"X-Forwarded-User": "ada", "Authorization": "Bearer hpo_revoked"})
    assert revoked.get("/api/v1/me").status_code == 401


def test_behind_tls_the_cookie_is_for_tls_only(client: Clients, known: dict[str, str]) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "team.example", "Origin": "https://team.example"}
    form = {"token": known["viewer"]}
    assert "Secure" in client(peer="10.1.2.3").post("/login", data=form, headers=headers).headers["set-cookie"]
    assert "Secure" not in client(peer="10.2.2.3").post("/login", data=form, headers=headers).headers["set-cookie"]


# -- where to listen


@pytest.fixture
def some(tmp_path: Path) -> Access:
    tokens = TokenFile(tmp_path / "tokens.json")
    tokens.create("me", Role.AUTHOR)
    return Access(tokens)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_asks_nobody(host: str) -> None:
    check(Address(host), Access())


@pytest.mark.parametrize(
    ("address", "given"),
    [
        (Address("0.0.0.0"), "--host 0.0.0.0"),
        (Address("::"), "--host ::"),
        (Address("192.0.2.7"), "--host 192.0.2.7"),
        (Address("build-server"), "--host build-server"),
        (Address(names=("team.example",)), "--allow-host team.example"),
    ],
)
def test_anything_else_asks_who_may(address: Address, given: str, some: Access) -> None:
    with pytest.raises(ConfigError, match=f"{re.escape(given)}.*--token-file.*--proxy-user-header"):
        check(address, Access())
    check(Address(address.host, 0, ("team.example",)), some)


def test_every_address_needs_names_and_a_file_tokens(some: Access, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--host 0\.0\.0\.0 .*--allow-host"):
        check(Address("0.0.0.0"), some)
    with pytest.raises(ConfigError, match=r"has no token.*hpo token create"):
        check(Address(), Access(TokenFile(tmp_path / "none.json")))


def test_names_and_addresses_as_browsers_write_them() -> None:
    address = Address("2001:db8::7", 0, ("Team.example", "2001:db8::8"))
    assert set(address.hosts) >= {"[2001:db8::7]", "team.example", "[2001:db8::8]", "127.0.0.1"}
    assert address.url(80) == "http://[2001:db8::7]:80"
    assert Address("0.0.0.0", 0, ("team.example",)).url(8264) == "http://team.example:8264"


@pytest.mark.parametrize(
    ("header", "addresses", "said"),
    [
        ("X-User", [], "--proxy-address"),
        ("X User:", ["127.0.0.1"], "no name of a header"),
        ("X-User", ["10.0.0.1/8"], "host bits"),
        ("X-User", ["proxy"], "10.0.0.0/8"),
    ],
)
def test_a_proxy_that_makes_no_sense_is_refused(header: str, addresses: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Proxy.of(header, addresses)


# -- MLflow


@pytest.mark.parametrize(
    ("path", "reads"),
    [
        ("api/2.0/mlflow/runs/search", True),
        ("ajax-api/3.0/mlflow/logged-models/search", True),
        ("graphql", True),
        ("api/2.0/mlflow/runs/delete", False),
        ("api/2.0/mlflow/runs/create", False),
        ("api/2.0/mlflow-artifacts/artifacts/api/2.0/mlflow/runs/search/x", False),
        ("ajax-api/2.0/mlflow/upload-artifact", False),
        ("x/graphql", False),
        ("graphql\n", False),
        ("api/2.0/mlflow-artifacts/mpu/create/x/api/2.0/mlflow/runs/search", False),
        ("api/2.0/mlflow/runs/delete/../search", False),
    ],
)
def test_a_viewer_asks_mlflow_and_changes_nothing_there(path: str, reads: bool) -> None:
    assert asks_only(path) is reads
    assert Policy().methods(f"/mlflow/{path}")["POST"] == (Role.VIEWER if reads else Role.RUNNER)


def test_markup_in_a_tokens_name_stays_text(client: Clients, tokens: TokenFile) -> None:
    name = "<script>alert(1)</script>"
    asking = client(Authorization=f"Bearer {tokens.create(name, Role.VIEWER)}")
    page: Any = asking.get("/pipelines").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    tokens.remove(name)
