"""Whatever happens to the process that started it, nothing of an embedded account stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_account.account import LocalAccount
from local_account.rundir import candidates, run_directory, sweep
from tests.e2e.conftest import MINISTACK_PYTHON, ROOT, SAM, processes_of

PROGRAM = """
import signal, sys
from pathlib import Path
from tests.e2e.conftest import embedded, POLICY, small_account
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
with embedded(small_account(), artefact=Path(sys.argv[1])) as account:
    account.push_policy(POLICY)
    account.invoke("FleetSync", {"trigger": "policy"})
    print(account.folder, account.emulator.pid, account.emulator.url, flush=True)
    while True:
        account.minute()
"""


@pytest.fixture
def started(artefact: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with an account of its own, minutes passing in it, and its folder."""
    paths = os.pathsep.join(str(ROOT / part) for part in ("src", "tools", "."))
    with subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", PROGRAM, str(artefact)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().split()[0])
        try:
            assert len(processes_of(folder)) >= 2, "the emulator, and a worker"
            yield process, folder
        finally:
            process.kill()


def gone_within(seconds: float, folder: Path) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not processes_of(folder) and not folder.exists():
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_behind(started: tuple[subprocess.Popen[str], Path], number: signal.Signals) -> None:
    process, folder = started
    process.send_signal(number)
    process.wait(timeout=60)
    assert gone_within(10, folder), (processes_of(folder), folder.exists())


def test_make_account_ends_on_sigterm_too(artefact: Path) -> None:
    options = {"--sam": SAM, "--ministack-python": MINISTACK_PYTHON, "--artefact": artefact, "--speed": 6000}
    words = [str(word) for option in options.items() for word in option]
    with subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-m", "local_account", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        shown: list[str] = []
        while not (shown and shown[-1].startswith("Interfere")):
            shown.append(process.stdout.readline())
            assert shown[-1], process.communicate()
        (folder,) = [Path(line.split()[-1]) for line in shown if line.startswith("Folder")]
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert gone_within(10, folder)
    assert any(line.startswith("export AWS_ENDPOINT_URL=http://127.0.0.1:") for line in shown)


def test_the_folders_of_crashed_accounts_are_swept_and_those_of_living_ones_are_not(
    local: LocalAccount, tmp_path: Path
) -> None:
    crashed, lockless = tmp_path / "tidegate-account-crashed", tmp_path / "tidegate-account-lockless"
    for left in (crashed, lockless):
        left.mkdir()
    (crashed / "lock").touch()
    with run_directory([tmp_path]) as living:
        assert list(tmp_path.iterdir()) == [living]
        assert sweep([tmp_path]) == []
        assert living.exists()
    assert not living.exists()
    sweep(candidates())
    assert local.folder.exists()
