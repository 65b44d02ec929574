"""Two builds of one source: what runs here holds wheels for this machine, what is shipped holds those for Lambda."""

import platform
import struct
import sys
from pathlib import Path

import pytest

from local_account.account import LocalAccount
from tests.e2e.conftest import ROOT, processes_of

MACHINES = {62: "x86_64", 183: "aarch64"}


def compiled(build: Path) -> dict[str, str]:
    """The compiled modules of a build, with the machine each ELF header names."""
    found = {}
    for module in build.rglob("*.so"):
        (machine,) = struct.unpack_from("<H", module.read_bytes(), 18)
        found[module.name] = MACHINES[machine]
    assert found, f"no compiled module below {build}"
    return found


def test_the_local_build_fits_this_machine(local: LocalAccount) -> None:
    tag = f"cpython-{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}"
    for name, machine in compiled(local.sam.built).items():
        assert machine == platform.machine(), name
        assert tag in name or "abi3" in name, name


@pytest.mark.build
def test_the_build_that_ships_fits_lambda_on_arm64() -> None:
    for name, machine in compiled(ROOT / ".aws-sam/build").items():
        assert machine == "aarch64", name
        assert "cpython-313-aarch64" in name or "abi3" in name, name


def test_the_lambdas_run_the_artefact_and_nothing_of_the_emulators_packages(local: LocalAccount) -> None:
    local.invoke("FleetSync", {"trigger": "policy"})
    workers = [pid for pid in processes_of(local.folder) if pid != local.emulator.pid]
    assert workers
    for pid in workers:
        mapped = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}
        assert [path for path in mapped if "site-packages" in path] == []
        (core,) = [path for path in mapped if "_pydantic_core" in path]
        assert core.startswith(str(local.folder))
