"""A step that asks for what no node has makes Ray's autoscaler add one; its nodes are processes on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clusters import STORE_BYTES, Head, attached, free_address, short_folder
from engine.going import Going
from samples import spread
from services import wait_until

from hpo_pipelines import Status, Workspace

pytestmark = pytest.mark.integration

HEAD_ID = "f" * 51 + "00000"
"""The fake provider numbers its nodes from the head's on."""


VARIABLES = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
}


def config(address: str) -> dict[str, object]:
    """What ``ray up`` would make of a cluster file. Ray's own test cluster is not shipped whole."""
    provider = {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "gcs_address": address,
        "head_node_id": HEAD_ID,
        "launch_multiple": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "use_internal_ips": True,
    }
    types = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu_node": {
            "resources": {"CPU": 1, "GPU": 1, "queue:gpu": 1, "object_store_memory": STORE_BYTES},
            "labels": {"accelerator": "a100"},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 1,
        },
    }
    nothing = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
               "head_start_ray_commands", "worker_start_ray_commands")  # fmt: skip
    return {
        "cluster_name": "test",
        "max_workers": 2,
        "idle_timeout_minutes": 30,
        "upscaling_speed": 100.0,
        "provider": provider,
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{name: [] for name in nothing},
    }


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with short_folder() as folder:
        address, file = free_address(), folder / "cluster.json"
        file.write_text(json.dumps(config(address)))
        options = (f"--autoscaling-config={file}", "--num-cpus=0", "--include-dashboard=false")
        made = Head(folder, address, *options, **VARIABLES)
        try:
            made.start()
            with attached(made.address, made.variables):
                yield made
        finally:
            made.kill()


@pytest.fixture
def workspace(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    queues = {
        "gpu": {"labels": {"accelerator": "a100"}, "resources": {"queue:gpu": 1}},
        "tpu": {"labels": {"accelerator": "tpu"}},
    }
    monkeypatch.setenv("HPO_QUEUES", json.dumps(queues))
    with Workspace(home=tmp_path / "home") as opened:
        yield opened


def test_a_step_makes_the_autoscaler_add_a_node_and_says_so(workspace: Workspace) -> None:
    run = Going(workspace, spread.scaled, executor="ray")
    reasons: set[str] = set()

    def watched() -> bool:
        reasons.add(run.reason("on_gpu"))
        return run.run.refreshed().status.finished

    wait_until(watched, "the run to end", 120)
    ended = run.end()
    assert ended.value == "on a node with GPU 0", ended.error
    wanted = "label accelerator=a100, no node has it"
    assert reasons & {
        f"waits: needs {wanted}; its autoscaler was asked",
        f"waits: autoscaler adds a node (gpu_node), needs {wanted}",
    }, reasons


def test_what_no_node_type_has_is_a_failure(workspace: Workspace) -> None:
    run = spread.unscalable.run(executor="ray", workspace=workspace)
    assert run.status is Status.FAILED
    assert run.error is not None
    assert run.error["type"] == "ConfigError"
    assert "no node of the cluster can serve what the step needs" in run.error["message"]
