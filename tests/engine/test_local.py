from __future__ import annotations

from engine.contract import ProcessContract


class TestLocal(ProcessContract):
    executor = "local"
