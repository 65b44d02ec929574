"""Size and start of the artefact, and the CPU time of a warm pass: `make speed`.

The artefact is built for Lambda (arm64, Python 3.13), so it is timed in a second build for this machine and this
interpreter, with nothing else on the path: first as `sam build` leaves it, where every start compiles every module,
then finished by `tools/env/finish_artefact.py` as `make build` does.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from bench.scale import ENVIRONMENT, alone
from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / ".aws-sam/build"
FOR_THIS_MACHINE = ROOT / ".aws-sam/bench"
SAM = ROOT / ".tools/sam/bin/sam"
FINISH = ROOT / "tools/env/finish_artefact.py"
FIRST_PASS = Path(__file__).with_name("first_pass.py")
HANDLERS = sorted(path.stem for path in (ROOT / "src/handlers").glob("[a-z]*.py") if path.stem != "wiring")
RUNS = 11
LARGEST = 8

IMPORT = """
import sys, time
sys.path.append(sys.argv[1])
started = time.perf_counter()
__import__(sys.argv[2])
print(time.perf_counter() - started)
"""
CLIENTS = """
import sys, time
sys.path.append(sys.argv[1])
from core.aws import clients
from handlers import wiring
made = wiring.from_environment
if sys.argv[2] != "from_environment":
    made()
    made = getattr(clients, sys.argv[2])
started = time.perf_counter()
made()
print(time.perf_counter() - started)
"""


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of one part of the artefact, unpacked and inside the zip."""

    part: str
    unpacked: int
    zipped: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of several runs."""

    what: str
    best: float
    median: float

    @classmethod
    def of(cls, what: str, seconds: Sequence[float]) -> "Timing":
        """Sum up runs measured in seconds."""
        return cls(what, round(1000 * min(seconds), 2), round(1000 * statistics.median(seconds), 2))


def sizes(artefact: Path) -> tuple[Size, list[Size]]:
    """Return the whole and each top-level package, the largest first; metadata of packages counts as one part."""
    unpacked: Counter[str] = Counter()
    zipped: Counter[str] = Counter()
    with tempfile.TemporaryFile() as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(artefact.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(artefact))
        for info in archive.infolist():
            top = info.filename.split("/", 1)[0]
            part = "(metadata)" if top.endswith(".dist-info") else top
            unpacked[part] += info.file_size
            zipped[part] += info.compress_size
        archive.close()
        total = Size("total", unpacked.total(), file.seek(0, os.SEEK_END))
    return total, [Size(part, size, zipped[part]) for part, size in unpacked.most_common()]


def artefact_of(build: Path) -> Path:
    """Return the one folder all functions share."""
    found = list(build.glob("*-Shared"))
    if len(found) != 1:
        raise typer.BadParameter(f"{build}: no artefact; run `make build` first")
    return found[0]


def build_for_this_machine() -> None:
    """Build src/ once more, for this interpreter and processor."""
    runtime = f"Runtime=python3.{sys.version_info.minor}"
    architecture = f"Architecture={'arm64' if platform.machine() in {'aarch64', 'arm64'} else 'x86_64'}"
    command = [str(SAM), "build", "--build-dir", str(FOR_THIS_MACHINE), "--parameter-overrides"]
    environment = {**os.environ, "PATH": f"{ROOT / '.tools/uv/bin'}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(  # noqa: S603 - our own command line
        [*command, f"{runtime} {architecture}"],
        cwd=ROOT,
        env={**environment, "SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise typer.BadParameter(f"sam build failed:\n{done.stderr}")


def fresh(script: Sequence[str], artefact: Path, argument: str) -> list[float]:
    """Return the seconds that a script measures in an interpreter of its own."""
    command = [sys.executable, "-I", "-S", "-B", *script, str(artefact), argument]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)  # noqa: S603 - our own
    return [float(each) for each in done.stdout.split()]


def cold(what: str, script: str, artefact: Path, argument: str) -> list[Timing]:
    """Time a script."""
    return [Timing.of(what, [fresh(["-c", script], artefact, argument)[0] for _ in range(RUNS)])]


def first_pass(what: str, artefact: Path, answers: str) -> list[Timing]:
    """Time a start from nothing to the end of a tick over one endpoint: import, and all of it in wall and CPU time."""
    seconds = [fresh([str(FIRST_PASS)], artefact, answers) for _ in range(RUNS)]
    parts = ("import", "import and first pass", "the same, CPU time")
    return [Timing.of(f"{what}: {part}", runs) for part, runs in zip(parts, zip(*seconds, strict=True), strict=True)]


class TimedAccount(SimulatedAccount):
    """Counts the CPU time that answering costs: that is AWS's, not ours."""

    answering = 0.0

    @override
    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        started = time.process_time()
        try:
            return super().call(service, operation, params)
        finally:
            self.answering += time.process_time() - started


def warm_pass(targets: int) -> Timing:
    """Time the tick of RealtimeTarget over `targets` endpoints that need nothing, without what AWS's part costs."""
    account = TimedAccount(datetime(2026, 11, 18, 8, 30, tzinfo=UTC))
    names = [f"endpoint-{number:03}" for number in range(targets)]
    for name in names:
        load = RealtimeWorkload(per_minute_requests=[1500] * 100, capacity_per_instance=1000)
        account.add_endpoint(name=name, workload=load, instance_count=3)
    profile = {
        "kind": "realtime",
        "min_capacity": 2,
        "max_capacity": 12,
        "objectives": {"requests_per_instance": 1000},
    }
    fleet = {"version": 1, "profiles": {"web": profile}, "endpoints": [{"name": n, "profile": "web"} for n in names]}
    stack = SimulatedStack(account, fleet)
    stack.invoke("FleetSync", {"trigger": "schedule"})
    for _ in range(20):
        account.advance()
    stack.invoke("RealtimeTarget", {"trigger": "schedule"})  # warms up, and settles what is left to settle
    runs = []
    for _ in range(RUNS):
        account.advance()
        account.answering, started = 0.0, time.process_time()
        stack.invoke("RealtimeTarget", {"trigger": "schedule"})
        runs.append(time.process_time() - started - account.answering)
    return Timing.of(f"warm pass, {targets} target{'s' * (targets > 1)}", runs)


def main(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure the artefact that `make build` made.

    Examples:
      make bench
      python -m bench.artefact --json
    """
    err = Console(stderr=True)
    total, parts = sizes(artefact_of(BUILT))
    with err.status("Building for this machine") as status:
        build_for_this_machine()
        artefact = artefact_of(FOR_THIS_MACHINE)

        starts: list[Timing] = []

        def told(measure: Callable[..., list[Timing]], what: str, *arguments: object) -> None:
            status.update(f"Timing {what}")
            starts.extend(measure(what, *arguments))

        with tempfile.TemporaryDirectory() as folder:
            answers = str(Path(folder) / "answers")
            alone("record", "1", answers)
            told(first_pass, "as sam build leaves it", artefact, answers)
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            subprocess.run([sys.executable, FINISH, FOR_THIS_MACHINE, version], check=True)  # noqa: S603 - our own
            told(first_pass, "finished", artefact, answers)
        for name in HANDLERS:
            told(cold, f"finished: import handlers.{name}", IMPORT, artefact, f"handlers.{name}")
        told(cold, "finished: three clients", CLIENTS, artefact, "from_environment")
        told(cold, "finished: SageMaker's client on top", CLIENTS, artefact, "sagemaker")
        status.update("Timing warm passes")
        passes = [warm_pass(1), warm_pass(100)]
    if as_json:
        figures: dict[str, list[Size] | list[Timing]] = {
            "size": [total, *parts],
            "cold_ms": starts,
            "warm_cpu_ms": passes,
        }
        print(json.dumps({key: [asdict(each) for each in found] for key, found in figures.items()}, indent=2))
        return
    out = Console()
    here = f"Python {platform.python_version()}, {platform.machine()}"
    out.print("Artefact for Lambda", _size_table(total, parts[:LARGEST]))
    out.print(f"Cold start on {here}, wall clock", _time_table(starts))
    out.print(f"Tick of RealtimeTarget on {here}, CPU time", _time_table(passes))


def _size_table(total: Size, parts: Sequence[Size]) -> Table:
    table = Table("part")
    for heading in ("unpacked kB", "zipped kB"):
        table.add_column(heading, justify="right")
    for size in (total, *parts):
        table.add_row(size.part, f"{size.unpacked / 1000:,.0f}", f"{size.zipped / 1000:,.0f}")
    return table


def _time_table(timings: Sequence[Timing]) -> Table:
    table = Table("what")
    for heading in ("best ms", f"median of {RUNS}"):
        table.add_column(heading, justify="right")
    for timing in timings:
        table.add_row(timing.what, f"{timing.best:,.1f}", f"{timing.median:,.1f}")
    return table


if __name__ == "__main__":
    typer.run(main)
