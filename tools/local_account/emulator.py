"""MiniStack as a child process: the platform under the embedded account (CloudFormation, Lambda, EventBridge...)."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from local_account.environment import scrubbed

RUNTIME = Path(__file__).parent / "runtime"
START_SECONDS = 30
ATTEMPTS = 5
LOG_LINES = 20


class EmulatorError(Exception):
    """The emulator could not be started."""


class Emulator:
    """A running MiniStack on a free port of this machine.

    Args:
        python: interpreter of the environment in which MiniStack is installed.
        folder: the account's run directory.
        variables: more environment for it, and so for the Lambdas it runs.
    """

    def __init__(self, python: Path, folder: Path, variables: Mapping[str, str]) -> None:
        self.python = python
        self.folder = folder
        self.variables = variables
        self.log = folder / "ministack.log"
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint of its services."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process ID, and ID of the process group that its workers are in, too."""
        if self._process is None:
            raise EmulatorError("the emulator is not running")
        return self._process.pid

    def launch(self) -> None:
        """Start it; `wait` says when it is ready."""
        for name in ("tmp", "state", "s3", "callers"):
            (self.folder / name).mkdir(exist_ok=True)
        self.port = free_port()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our launcher, in the interpreter we were given
                [self.python, RUNTIME / "launch_ministack.py"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self._environment(),
                start_new_session=True,  # one group to kill; and Ctrl-C reaches us alone, who stop it in order
            )

    def wait(self) -> None:
        """Return when it answers; should it have died (its port was taken after all), start it again elsewhere.

        Raises:
            EmulatorError: with the end of its log.
        """
        for _ in range(ATTEMPTS):
            if self._answers():
                return
            self.stop()
            self.launch()
        raise EmulatorError(f"MiniStack does not start; its log ends with:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def stop(self) -> None:
        """Kill it and its workers. Whatever it holds is lost, and nothing in it is worth keeping."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_SECONDS
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            try:
                with direct.open(f"{self.url}/_ministack/ready", timeout=2):
                    return True
            except OSError:  # not yet
                time.sleep(0.05)
        return False

    def _environment(self) -> dict[str, str]:
        """Return its environment, which it hands on to its workers; function variables come on top there."""
        return scrubbed() | {
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "STATE_DIR": str(self.folder / "state"),
            "S3_DATA_DIR": str(self.folder / "s3"),
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",  # else queue URLs name a host that may mean IPv6
            "AUTH": "true",
            "IOT_MTLS_ENABLED": "0",  # these two would open ports of their own
            "SFTP_ENABLED": "0",
            "LAMBDA_EXECUTOR": "local",
            "DOCKER_HOST": "unix:///nonexistent",  # it would clear up containers that are not ours
            "LAMBDA_WARM_TTL_SECONDS": "3600",
            "LOG_LEVEL": "WARNING",
            "PYTHONPATH": str(RUNTIME),
            "TIDEGATE_RUN_DIRECTORY": str(self.folder),
            **self.variables,
        }


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
