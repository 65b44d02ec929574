"""Finish what `sam build` made: without the models of services that are never called, and with bytecode.

A cold start compiles every module it imports where /var/task has no bytecode, for it cannot keep any: that is most of
its time. The bytecode must be that of the runtime's Python, which uv finds on this machine or fetches; without one the
artefact stays as it was, valid and slow. Whoever runs plain `sam build` gets that too.
"""  # noqa: INP001  (tools/env is not a package)

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".tools/uv/bin/uv"
CLIENT = re.compile(r'\.client\("([a-z-]+)"')


def prune(artefact: Path) -> None:
    """Remove the models of services that `core.aws.clients` makes no client of: three quarters of botocore."""
    called = set(CLIENT.findall((artefact / "core/aws/clients.py").read_text(encoding="utf-8")))
    if not called:
        raise SystemExit("core/aws/clients.py names no service: how are clients made now?")
    for model in (artefact / "botocore/data").iterdir():
        if model.is_dir() and model.name not in called:
            shutil.rmtree(model)


def interpreter(version: str) -> str | None:
    """Return a Python of this version: ours, one that is installed, or one that uv fetches; None without any."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" == version:
        return sys.executable
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin")
    places = os.pathsep.join([*map(str, versions), os.environ["PATH"]])
    for command in (["find"], ["install", "--quiet"], ["find"]):
        done = subprocess.run(  # noqa: S603 - our own uv
            [UV, "python", *command, version],
            env={**os.environ, "PATH": places, "UV_HTTP_RETRIES": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if command == ["find"] and done.returncode == 0:
            return done.stdout.strip()
    return None


def compiled(artefact: Path, python: str) -> None:
    """Put bytecode beside the sources; it holds whatever time a zip gives them, and names no path of this machine."""
    command = [python, "-I", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*command, "-s", str(artefact), str(artefact)], check=True)  # noqa: S603 - Python itself


def finish(build: Path, version: str) -> bool:
    """Finish the one artefact in a build directory; False if it is without bytecode."""
    (artefact,) = build.glob("*-Shared")
    prune(artefact)
    if python := interpreter(version):
        compiled(artefact, python)
    return python is not None


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Finish what `sam build` made.")
    arguments.add_argument("build", type=Path, help="directory that SAM built to")
    arguments.add_argument("version", help="Python of the runtime, such as 3.13")
    asked = arguments.parse_args()
    if not finish(asked.build, asked.version):
        print(f"No Python {asked.version} here or to be had: the artefact has no bytecode, so cold starts take longer.")
