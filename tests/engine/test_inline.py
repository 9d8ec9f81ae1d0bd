from __future__ import annotations

import pytest
from engine.contract import RunContract
from samples import bodies

from hpo_pipelines import Status, Workspace


class TestInline(RunContract):
    executor = "inline"

    def test_it_refuses_what_it_cannot_do(self, workspace: Workspace) -> None:
        run = self.run(workspace, bodies.overdue, pids="unused")
        assert run.status is Status.FAILED
        assert "timeout=0.3" in (run.error or {})["message"]
        assert "executor='local'" in (run.error or {})["message"]

    def test_the_users_frames_are_in_the_traceback(self, workspace: Workspace) -> None:
        draft = bodies.refusing.draft(x=9, workspace=workspace, executor="inline")
        controller, values = workspace.controller(draft.task)
        controller.drive(values)
        assert isinstance(controller.raised, bodies.Refused)
        names = []
        frame = controller.raised.__traceback__
        while frame is not None:
            names.append(frame.tb_frame.f_code.co_name)
            frame = frame.tb_next
        assert "refuse" in names


def test_keyboard_interrupt_in_a_body_aborts_the_run_and_is_not_swallowed(tmp_path: object) -> None:
    from hpo_pipelines import pipeline

    @pipeline
    def interrupted() -> None:
        raise KeyboardInterrupt

    with Workspace(home=str(tmp_path)) as workspace:
        draft = interrupted.draft(workspace=workspace)
        with pytest.raises(KeyboardInterrupt):
            workspace.start(draft.id)
        assert draft.refreshed().status is Status.ABORTED
