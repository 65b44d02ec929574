"""The SAM CLI: builds the artefact for this machine and deploys the template, as it would for AWS."""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from local_account.environment import for_building, scrubbed

ROOT = Path(__file__).resolve().parents[2]
STACK = "tidegate-local"
POLL_SECONDS = "0.3"
"""SAM asks every 5 s by default how a change set is doing; here it is done at once."""


QUIET = {"telemetryEnabled": False, "lastVersionCheck": datetime(2100, 1, 1, tzinfo=UTC).timestamp()}
"""SAM's own settings: tell nobody, and do not look for a newer version at the end of each command."""


class SamError(Exception):
    """A SAM command failed; the message is its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam:
    """SAM commands for one embedded account.

    Args:
        executable: the SAM CLI.
        folder: the account's run directory; the artefact goes there.
        runtime: as in "python3.11"; must be the emulator's, for it runs the Lambdas in its own interpreter.
        variables: what leads SAM to the embedded account.
        artefact: a directory that `build` filled for another account, to be used again.
    """

    executable: Path
    folder: Path
    runtime: str
    variables: Mapping[str, str] = field(default_factory=dict)
    artefact: Path | None = None

    @property
    def built(self) -> Path:
        """The directory with the built template."""
        return self.artefact or self.folder / "build"

    def build(self) -> None:
        """Build the artefact for this machine, finished as the one that ships; nothing to do if one was given."""
        if self.artefact is None:
            self._run(
                "build",
                *("--build-dir", str(self.built), "--parameter-overrides", self.overrides({})),
                env=for_building(),
            )
            finish = [sys.executable, str(ROOT / "tools/env/finish_artefact.py"), str(self.built)]
            version = self.runtime.removeprefix("python")
            subprocess.run([*finish, version], check=True, env=for_building(), stdout=subprocess.DEVNULL)  # noqa: S603
            self._pack()

    def deploy(self, parameters: Mapping[str, str]) -> None:
        """Create or update the stack with these parameters besides the local stage's own."""
        self._run(
            "deploy",
            *("--template-file", str(self.built / "template.json")),
            *("--parameter-overrides", self.overrides(parameters)),
            env=self._environment(),
        )

    def _pack(self) -> None:
        """Write what `deploy` takes: the artefact as one zip, and the built template as JSON that refers to it.

        SAM would zip the folder once for each function, and parse YAML five times: most of a deployment's time here.
        """
        (artefact,) = self.built.glob("*-Shared")
        packed = shutil.make_archive(str(artefact), "zip", artefact)
        template = yaml.safe_load((self.built / "template.yaml").read_text(encoding="utf-8"))
        for resource in template["Resources"].values():
            if (properties := resource.get("Properties", {})).get("CodeUri") == artefact.name:
                properties["CodeUri"] = packed
        (self.built / "template.json").write_text(json.dumps(template), encoding="utf-8")

    def delete(self) -> None:
        """Delete the stack."""
        self._run("delete", "--no-prompts", "--stack-name", STACK, env=self._environment())

    def remote_invoke(self, function: str, event_file: Path) -> str:
        """Invoke a function by its logical ID, as an operator does, and return what SAM prints."""
        return self._run(
            "remote",
            *("invoke", function, "--stack-name", STACK, "--event-file", str(event_file)),
            env=self._environment(),
        )

    def overrides(self, parameters: Mapping[str, str]) -> str:
        """Return all parameters: a value on the command line replaces the whole of samconfig's."""
        machine = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
        ours = {"Stage": "local", "Mode": "active", "Runtime": self.runtime, "Architecture": machine}
        ours |= {"AlarmWritesPerSecond": "1000"}  # nobody counts them there
        return " ".join(f'{key}="{value}"' for key, value in (ours | dict(parameters)).items())

    def _environment(self) -> dict[str, str]:
        home = {"HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp"), "SAM_CLI_POLL_DELAY": POLL_SECONDS}
        return scrubbed() | home | dict(self.variables)

    def _run(self, *command: str, env: Mapping[str, str]) -> str:
        configured = (
            () if command[0] == "remote" else ("--config-env", "local", "--config-file", str(ROOT / "samconfig.toml"))
        )
        own = self.folder / "sam"
        own.mkdir(exist_ok=True)
        (own / "metadata.json").write_text(json.dumps(QUIET), encoding="utf-8")
        done = subprocess.run(  # noqa: S603 - the SAM CLI of this checkout
            [self.executable, *command, *configured],
            cwd=ROOT,
            env={**env, "__SAM_CLI_APP_DIR": str(own)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SamError(f"sam {command[0]} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


def runtime_of(python: Path) -> str:
    """Return the Lambda runtime that an interpreter is, as in "python3.11"."""
    say = "import sys; print(f'python{sys.version_info[0]}.{sys.version_info[1]}')"
    return subprocess.run(  # noqa: S603 - the interpreter we were given
        [python, "-I", "-c", say], capture_output=True, text=True, check=True, env=dict(os.environ)
    ).stdout.strip()
