from __future__ import annotations

import pytest
from engine.contract import ProcessContract


@pytest.mark.integration
class TestRay(ProcessContract):
    executor = "ray"
