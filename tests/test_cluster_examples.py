"""The files of examples/cluster are what Ray and KubeRay read, and what our own command line and settings know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import ray
from ruamel.yaml import YAML

from hpo_pipelines.cli.app import hpo
from hpo_pipelines.settings import Settings

FOLDER = Path(__file__).parents[1] / "examples" / "cluster"


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all((FOLDER / name).read_text()))


@pytest.fixture
def kuberay() -> dict[str, Any]:
    return {f"{each['kind']}": each for each in documents("kuberay.yaml")}


def containers(group: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each for each in group["template"]["spec"]["containers"]}


def test_the_cluster_file_is_one_of_rays() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    (cluster,) = documents("ray-cluster.yaml")
    jsonschema.Draft7Validator(schema).validate(cluster)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    for kind in cluster["available_node_types"].values():
        assert kind["max_workers"] <= cluster["max_workers"]
    assert cluster["available_node_types"]["gpu"]["resources"]["queue:gpu"] == 2
    assert any("--autoscaling-config" in command for command in cluster["head_start_ray_commands"])


def test_a_wrong_cluster_file_would_be_seen() -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    (cluster,) = documents("ray-cluster.yaml")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({**cluster, "max_worker": 1})


def test_the_manifest_is_a_cluster_that_scales(kuberay: dict[str, Any]) -> None:
    spec = kuberay["RayCluster"]["spec"]
    assert kuberay["RayCluster"]["apiVersion"] == "ray.io/v1"
    assert spec["rayVersion"] == documents("ray-cluster.yaml")[0]["docker"]["image"].split(":")[1].split("-")[0]
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        for container in containers(group).values():
            assert container["resources"]["requests"] == container["resources"]["limits"]
        # Values of rayStartParams are text, whatever they mean.
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


def test_its_queues_are_served_by_its_groups(kuberay: dict[str, Any], tmp_path: Path) -> None:
    queue = Settings.load(tmp_path, kuberay["ConfigMap"]["data"]).queue("gpu")
    groups = {group["groupName"]: group for group in kuberay["RayCluster"]["spec"]["workerGroupSpecs"]}
    given = groups["gpu"]["rayStartParams"]
    assert dict(pair.split("=") for pair in given["labels"].split(",")) == queue.labels
    resources = json.loads(json.loads(given["resources"]))
    assert resources.keys() == queue.resources.keys()


def test_its_agent_is_a_command_of_ours(kuberay: dict[str, Any]) -> None:
    agent = containers(kuberay["RayCluster"]["spec"]["headGroupSpec"])["agent"]
    program, name, *arguments = agent["command"]
    assert program == "hpo"
    command = hpo.get_command(click.Context(hpo), name)
    assert command is not None
    assert command.make_context(name, arguments).params["names"] == ("services", "default")
    told = {each["name"] for each in agent["env"]}
    told |= kuberay["ConfigMap"]["data"].keys() | kuberay["Secret"]["stringData"].keys()
    assert told >= {"RAY_ADDRESS", "HPO_HOME", "HPO_STORE", "HPO_ARTIFACTS", "HPO_QUEUES"}
    assert {"configMapRef": {"name": "hpo"}} in agent["envFrom"]
