"""Names of processes: another process tells from them who is gone."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from engine.contract import eventually

from hpo_pipelines.owner import is_gone, machine, owner_name, process_name, spoken


def name_of(pid: int) -> str:
    return f"{machine()}:{pid}:{psutil.Process(pid).create_time():.2f}:x"


def test_this_process_is_there_and_each_name_of_it_is_another() -> None:
    assert not is_gone(owner_name())
    assert owner_name() != owner_name()


def test_a_process_that_has_ended_is_gone_also_while_nobody_has_collected_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        owner = name_of(process.pid)
        assert not is_gone(owner)
        process.kill()
        eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        assert is_gone(owner)
    assert is_gone(owner)


def test_a_process_that_got_the_number_of_another_is_not_it() -> None:
    host, pid, created, rest = owner_name().rsplit(":", 3)
    assert is_gone(f"{host}:{pid}:{float(created) - 60:.2f}:{rest}")


@pytest.mark.parametrize(
    "owner", ["other-host:1:1.00:x", "other-host:1:0.00", "the mirror", "a:b", "other:host:name:1:1.00:x"]
)
def test_of_another_machine_and_of_what_is_no_name_of_ours_nothing_is_known(owner: str) -> None:
    assert not is_gone(owner)


def test_a_process_has_one_name_and_its_owners_each_their_own() -> None:
    assert process_name() == process_name()
    assert owner_name().startswith(f"{process_name()}:")


def test_a_person_is_told_the_number_and_the_host() -> None:
    assert spoken("vm/4026531836:7031:1795360553.12:01M81X83BY4VGRD") == "the process 7031 on vm"
    assert spoken("the mirror") == "the mirror"
