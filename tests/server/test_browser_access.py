"""A server that asks who one is, in a real Chromium: logging in and out, roles, archiving, a token that is revoked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from samples import shown
from server.conftest import LIMIT_MS, Watch
from server_process import Served, start
from services import wait_until

from hpo_pipelines import Float, Workspace, optimize
from hpo_pipelines.run import Run
from hpo_pipelines.server.roles import Role
from hpo_pipelines.server.tokens import TokenFile
from hpo_pipelines.study.keeping import delete

pytestmark = [pytest.mark.integration, pytest.mark.browser]

NAMED = "<script>document.title='owned'</script>"


@dataclass
class Team:
    """A server with tokens, and a run in it."""

    server: Served
    tokens: TokenFile
    workspace: Workspace
    run: Run

    def token(self, name: str, role: Role) -> str:
        """A new one, also for a name that had one."""
        if name in [token.name for token in self.tokens.tokens()]:
            self.tokens.remove(name)
        return self.tokens.create(name, role)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    home = tmp_path_factory.mktemp("team")
    (home / "config.toml").write_text('executor = "local"\n')
    tokens = TokenFile(home / "tokens.json")
    tokens.create("first", Role.AUTHOR)
    with Workspace(home=home) as workspace:
        run = workspace.run(shown.churn, {"folder": str(home)}, executor="inline")
        server = start(home, "--no-mlflow", "--token-file", str(tokens.path))
        yield Team(server, tokens, workspace, run)
        server.stop()


@pytest.fixture
def browser_page(chromium: Browser, team: Team) -> Iterator[tuple[Page, Watch]]:
    context = chromium.new_context(base_url=team.server.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(LIMIT_MS)
    opened, watch = context.new_page(), Watch(team.server.url)
    watch.on(opened)
    yield opened, watch
    context.close()
    assert watch.left() == []


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()


def test_logging_in_and_out(team: Team, browser_page: tuple[Page, Watch]) -> None:
    page, watch = browser_page
    token = team.token(NAMED, Role.VIEWER)
    page.goto(f"/runs/{team.run.id}?view=steps")
    expect(page).to_have_url(f"{team.server.url}/login?next=%2Fruns%2F{team.run.id}%3Fview%3Dsteps")
    violations = (
        Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}).response["violations"]
    )
    assert violations == []
    watch.allow("status of 401")
    log_in(page, "hpo_wrong")
    expect(page.get_by_role("alert")).to_contain_text("none that is known here")
    log_in(page, token)
    expect(page).to_have_url(f"{team.server.url}/runs/{team.run.id}?view=steps")
    expect(page.locator(".who")).to_contain_text(NAMED)
    assert page.title() != "owned"
    assert page.evaluate("document.cookie") == ""
    # A viewer is offered nothing that is refused.
    expect(page.get_by_role("button", name="New run")).to_be_hidden()
    expect(page.get_by_role("button", name="Rerun")).to_be_hidden()
    expect(page.get_by_text("More", exact=True)).to_be_hidden()
    page.keyboard.press("n")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{team.server.url}/login")
    page.goto("/pipelines")
    expect(page).to_have_url(f"{team.server.url}/login?next=%2Fpipelines")
    team.tokens.remove(NAMED)


def test_a_link_of_another_site_leads_to_the_page_when_one_is_logged_in(
    team: Team, browser_page: tuple[Page, Watch]
) -> None:
    page, watch = browser_page
    page.goto("/login")
    log_in(page, team.token("linked", Role.VIEWER))
    expect(page).to_have_url(f"{team.server.url}/pipelines")
    # Another site: the same machine under its other name.
    foreign = team.server.url.replace("127.0.0.1", "localhost")
    watch.allow("off the origin: .*localhost")
    page.goto(f"{foreign}/login")
    page.evaluate("url => { location.href = url }", f"{team.server.url}/runs/{team.run.id}")
    expect(page).to_have_url(f"{team.server.url}/runs/{team.run.id}")
    expect(page.get_by_role("heading", name=team.run.label, level=1)).to_be_visible()


def test_archive_restore_and_delete_with_a_dialog(team: Team, browser_page: tuple[Page, Watch], tmp_path: Path) -> None:
    page, _ = browser_page
    doomed = team.run.clone(lr=0.6).run()
    page.goto("/login")
    log_in(page, team.token("keeper", Role.AUTHOR))
    expect(page).to_have_url(f"{team.server.url}/pipelines")
    page.goto(f"/runs/{doomed.id}")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Archive").click()
    expect(page.locator("#ask-text")).to_contain_text(f"Archive {doomed.label}?")
    with page.expect_navigation():
        page.locator("#ask").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("heading", name=doomed.label, level=1)).to_contain_text("Archived")
    page.goto("/pipelines/shop/churn")
    expect(page.locator(f"#row-{team.run.id}")).to_be_visible()
    expect(page.locator(f"#row-{doomed.id}")).to_have_count(0)
    page.get_by_label("Archived").check()
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(f"#row-{doomed.id}")).to_be_visible()
    page.goto(f"/runs/{doomed.id}")
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Delete…").click()
    page.locator("#ask").get_by_role("button", name="Cancel").click()
    assert team.workspace.run_called(doomed.id).label == doomed.label
    page.get_by_role("button", name="Delete…").click()
    expect(page.locator("#ask-text")).to_contain_text("This cannot be undone")
    page.locator("#ask").get_by_role("button", name="Yes").click()
    expect(page).to_have_url(f"{team.server.url}/pipelines/shop/churn")
    assert doomed.id not in [run.id for run in team.workspace.runs()]


def test_a_study_is_archived_restored_and_deleted_with_a_dialog(team: Team, browser_page: tuple[Page, Watch]) -> None:
    page, _ = browser_page
    space = {"lr": Float(0.1, 1.0)}
    study = optimize(team.run, space, "fit.auc", n_trials=2, name="doomed", executor="inline", progress=False)
    trials = {run.id for run in study.runs}
    page.goto("/login")
    log_in(page, team.token("keeper of studies", Role.AUTHOR))
    expect(page).to_have_url(f"{team.server.url}/pipelines")
    page.goto(f"/studies/{study.id}")
    more = page.locator("#head summary", has_text="More")
    more.click()
    page.get_by_role("button", name="Archive").click()
    expect(page.locator("#ask-text")).to_contain_text("Archive doomed with its 2 trials?")
    with page.expect_navigation():
        page.locator("#ask").get_by_role("button", name="Yes").click()
    expect(page.locator("h1")).to_contain_text("Archived")
    expect(page.get_by_role("button", name="More trials")).to_have_count(0)
    page.goto("/studies")
    expect(page.get_by_role("heading", name="All studies are archived")).to_be_visible()
    page.get_by_role("link", name="Archived", exact=True).click()
    page.get_by_role("link", name="doomed").click()
    more.click()
    with page.expect_navigation():
        page.get_by_role("button", name="Restore").click()
    expect(page.get_by_role("button", name="More trials")).to_be_visible()
    more.click()
    page.get_by_role("button", name="Delete…").click()
    page.locator("#ask").get_by_role("button", name="Cancel").click()
    assert study.task.archived_at is None
    other = page.context.new_page()
    other.goto(f"/studies/{study.id}")
    expect(other.locator("#live")).to_have_text("Live")
    page.get_by_role("button", name="Delete…").click()
    expect(page.locator("#ask-text")).to_contain_text("This cannot be undone")
    page.locator("#ask").get_by_role("button", name="Yes").click()
    expect(page).to_have_url(f"{team.server.url}/studies")
    expect(page.get_by_role("heading", name="No study yet")).to_be_visible()
    expect(other.locator("#live")).to_have_text("Deleted")
    assert not trials & {run.id for run in team.workspace.runs()}


def test_a_page_whose_run_is_deleted_elsewhere_says_so(team: Team, browser_page: tuple[Page, Watch]) -> None:
    page, _ = browser_page
    doomed = team.run.clone(lr=0.7).run()
    page.goto("/login")
    log_in(page, team.token("watcher", Role.VIEWER))
    expect(page).to_have_url(f"{team.server.url}/pipelines")
    page.goto(f"/runs/{doomed.id}")
    expect(page.locator("#live")).to_have_text("Live")
    authorised = {"Authorization": f"Bearer {team.token('deleter', Role.AUTHOR)}"}
    assert httpx2.delete(f"{team.server.url}/api/v1/runs/{doomed.id}", headers=authorised).status_code < 300
    expect(page.locator("#live")).to_have_text("Deleted")


def test_a_runner_starts_runs_and_deletes_none(team: Team, browser_page: tuple[Page, Watch]) -> None:
    page, _ = browser_page
    page.goto("/login")
    log_in(page, team.token("runner", Role.RUNNER))
    expect(page).to_have_url(f"{team.server.url}/pipelines")
    page.goto(f"/runs/{team.run.id}")
    page.get_by_text("More", exact=True).click()
    expect(page.get_by_role("button", name="Archive")).to_be_visible()
    expect(page.get_by_role("button", name="Delete…")).to_be_hidden()
    page.get_by_role("button", name="New run").click()
    expect(page.get_by_role("heading", name="New run")).to_be_visible()
    study = optimize(team.run, {"lr": [0.1]}, "fit.auc", n_trials=1, name="left", executor="inline", progress=False)
    page.goto(f"/studies/{study.id}")
    page.locator("#head summary", has_text="More").click()
    expect(page.get_by_role("button", name="Archive")).to_be_visible()
    expect(page.get_by_role("button", name="Delete…")).to_be_hidden()
    delete(team.workspace, study.id)


def test_a_live_stream_ends_when_its_token_is_revoked(team: Team) -> None:
    headers = {"Authorization": f"Bearer {team.token('leaver', Role.VIEWER)}", "Accept": "text/event-stream"}
    with httpx2.stream("GET", f"{team.server.url}/api/v1/events", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200
        parts = answer.iter_text()
        assert next(parts).startswith("retry:")
        team.tokens.remove("leaver")
        team.run.annotate(notes="seen by nobody who was shut out")
        assert "".join(parts) == ""


def test_it_listens_elsewhere_and_answers_to_its_names(team: Team, tmp_path: Path) -> None:
    options = [
        "--no-mlflow",
        "--host",
        "0.0.0.0",
        "--allow-host",
        "team.example",
        "--token-file",
        str(team.tokens.path),
    ]
    server = start(team.workspace.home, *options)
    try:
        assert server.url.startswith("http://team.example:")
        port = server.url.rpartition(":")[2]
        token = team.token("elsewhere", Role.VIEWER)

        def status(host: str, **headers: str) -> int:
            url = f"http://127.0.0.1:{port}/api/v1/runs"
            return httpx2.get(url, headers={"Host": host, **headers}, timeout=60).status_code

        assert status(f"team.example:{port}") == 401
        assert status(f"team.example:{port}", Authorization=f"Bearer {token}") == 200
        assert status("evil.example", Authorization=f"Bearer {token}") == 403
    finally:
        server.stop()
    wait_until(lambda: server.process.poll() is not None, "the server to end")
