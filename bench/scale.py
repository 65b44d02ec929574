"""Where one pass stops serving: own CPU, memory and calls of a tick of RealtimeTarget over up to 5,000 targets.

`python -m bench.scale` (`make speed`). The deployed handler runs with its real clients twice. First against the
simulated account, which writes down what it answers; then in a process of its own that holds nothing but the controller
and reads these answers from a file, so that CPU time and peak memory are the controller's: serialising, signing and
parsing included, AWS excluded. How long AWS takes to answer is assumed (`--call-ms`).
"""

import json
import os
import resource
import shelve
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import botocore.session
import typer
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from rich.console import Console
from rich.table import Table

from simulator.transport import Raw

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 10, 100, 500, 1000, 2000, 5000)
PASSES = 4
"""The first is that of a fresh execution environment, the others find what it left."""

FITTED_FROM, FEWEST_FITTED = 100, 3
START = datetime(2026, 11, 18, 8, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HISTORY = 25
"""Minutes that are measured before the first pass: more than a pass looks back."""

TIMEOUT_S, TICK_S = 50, 60
ENVIRONMENT: dict[str, str] = {
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "POWERTOOLS_SERVICE_NAME": "tidegate",
    "POWERTOOLS_METRICS_NAMESPACE": "Tidegate",
    "TIDEGATE_STAGE": "prod",
    "TIDEGATE_MODE": "active",
    "TIDEGATE_TABLE": "tidegate-prod",
    "TIDEGATE_FALLBACK_ROLE": "arn:aws:iam::123456789012:role/tidegate-prod-fallback",
    "TIDEGATE_APPCONFIG_APPLICATION": "tidegate",
    "TIDEGATE_APPCONFIG_ENVIRONMENT": "prod",
    "TIDEGATE_APPCONFIG_PROFILE": "fleet",
    "TIDEGATE_ALARM_WRITES_PER_SECOND": "1000000",  # nobody waits for simulated alarms
}

Reply = tuple[int, bytes, Mapping[str, str]]
Answering = Callable[[str, str, AWSPreparedRequest], Reply]
"""Answers a request, given service, operation and what botocore would send."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """Lambda's context object."""

    function_name: str = "tidegate-prod-realtime-target"
    aws_request_id: str = "bench"

    def get_remaining_time_in_millis(self) -> int:
        """Return the time-out."""
        return 1000 * TIMEOUT_S


@contextmanager
def answered(answering: Answering) -> Iterator[None]:
    """Let every client made from now on be answered by a function, below retries, signing and parsing."""

    def send(request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse:
        service, operation = event_name.split(".")[1:]
        status, body, headers = answering(service, operation, request)
        return AWSResponse(str(request.url), status, headers, Raw(body))  # type: ignore[arg-type]

    session = botocore.session.Session()
    emitter: Any = session.get_component("event_emitter")
    emitter.register_first("before-send", send)
    botocore.session.get_session = lambda *_: session
    with redirect_stdout(StringIO()):  # the handlers log there
        yield


def key(operation: str, request: AWSPreparedRequest) -> str:
    """Return what tells one request of a pass from the others; a configuration is asked for by tokens that differ."""
    body = request.body or b""
    return (
        operation
        if "Configuration" in operation
        else f"{operation} {body.decode() if isinstance(body, bytes) else body}"
    )


def named(number: int, request: str) -> str:
    """Return where an answer is kept; the configuration is the same in all passes, whichever of them asks for it."""
    return request if "Configuration" in request[:30] else f"{number} {request}"


def tick(at: datetime) -> None:
    """Invoke the deployed handler as it is."""
    from core.aws import clock  # noqa: PLC0415 - a process that only prints the table needs no controller
    from handlers import realtime_target  # noqa: PLC0415

    clock.now = lambda: at
    realtime_target.handler({"trigger": "schedule"}, Invocation())


def record(count: int, file: str) -> None:
    """Play passes over so many endpoints that need nothing, and keep what AWS answered."""
    from core.aws import clock  # noqa: PLC0415
    from handlers import fleet_sync, wiring  # noqa: PLC0415
    from simulator import aas  # noqa: PLC0415
    from simulator.account import SimulatedAccount  # noqa: PLC0415
    from simulator.workload import RealtimeWorkload  # noqa: PLC0415
    from tests.chaos.cloud import CloudAccount  # noqa: PLC0415

    aas.MAX_TARGETS = 10 * max(SIZES)  # an account whose quota was raised
    account = SimulatedAccount(START, region=ENVIRONMENT["AWS_DEFAULT_REGION"], record_calls=False)
    names = [f"endpoint-{number:04}" for number in range(count)]
    for name in names:
        load = RealtimeWorkload(per_minute_requests=[1500] * 100, capacity_per_instance=1000)
        account.add_endpoint(name=name, workload=load, instance_count=3)
    web = {"kind": "realtime", "min_capacity": 2, "max_capacity": 12, "objectives": {"requests_per_instance": 1000}}
    endpoints = [{"name": n, "profile": "web"} for n in names]
    document = {"version": 1, "scalable_targets": aas.MAX_TARGETS, "profiles": {"web": web}, "endpoints": endpoints}
    cloud = CloudAccount(account=account, document=document)
    ids = {"sagemaker": "sagemaker", "application-auto-scaling": "application-autoscaling"}
    kept: dict[str, Reply] = {}
    calls: Counter[str] = Counter()

    def answering(service: str, operation: str, request: AWSPreparedRequest) -> Reply:
        answer = cloud.answer(ids.get(service, service), operation, request)
        kept[key(operation, request)] = (answer.status, answer.body, dict(answer.headers))
        calls[operation] += 1
        return kept[key(operation, request)]

    with answered(answering), shelve.open(file) as shelf:  # noqa: S301 - our own
        clock.now = lambda: account.now
        fleet_sync.handler({"trigger": "schedule"}, Invocation())
        wiring.from_environment.cache_clear()  # the owner has an execution environment of its own
        for _ in range(HISTORY):
            account.advance()
        for number in range(PASSES):
            kept.clear()
            calls.clear()
            tick(account.now)
            shelf[f"{number} at"], shelf[f"{number} calls"] = account.now, dict(calls)
            for name, reply in kept.items():
                shelf[named(number, name)] = reply
            account.advance()


def play(file: str) -> None:
    """Make the same passes from the file, and print what they cost."""
    number, seconds = 0, []
    with shelve.open(file, "r") as shelf:  # noqa: S301 - written by `record`
        reading = 0.0

        def answering(_service: str, operation: str, request: AWSPreparedRequest) -> Reply:
            nonlocal reading
            began = time.process_time()
            reply: Reply = shelf[named(number, key(operation, request))]
            reading += time.process_time() - began
            return reply

        with answered(answering):
            for number in range(PASSES):
                reading, began = 0.0, time.process_time()
                tick(shelf[f"{number} at"])
                seconds.append(time.process_time() - began - reading)
        calls = [shelf[f"{number} calls"] for number in range(PASSES)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "calls": calls}))


@dataclass(frozen=True, slots=True)
class Measured:
    """What passes over so many targets cost: of a fresh environment, and in the median of those after it."""

    targets: int
    first_s: float
    warm_s: float
    peak_mib: float
    first_calls: Mapping[str, int]
    warm_calls: Mapping[str, int]


def measure(count: int) -> Measured:
    """Record and play in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "answers")
        alone("record", str(count), file)
        found = json.loads(alone("play", file))
    warm = sorted(zip(found["seconds"][1:], found["calls"][1:], strict=True), key=lambda each: each[0])[PASSES // 2 - 1]
    return Measured(count, found["seconds"][0], warm[0], found["peak_mib"], found["calls"][0], warm[1])


def alone(*arguments: str) -> str:
    """Run a part of this module in a process of its own and return what it prints."""
    command = [sys.executable, "-m", "bench.scale", *arguments]
    done = subprocess.run(  # noqa: S603 - our own command line
        command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def growth(measured: list[Measured]) -> tuple[float, float]:
    """Return exponent and R^2 of warm CPU time as a power of the number of targets."""
    import numpy as np  # noqa: PLC0415 - the measured process must not hold it

    large = [each for each in measured if each.targets >= FITTED_FROM]
    x, y = np.log([each.targets for each in large]), np.log([each.warm_s for each in large])
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(1 - ((y - slope * x - offset) ** 2).sum() / ((y - y.mean()) ** 2).sum())


def main(
    sizes: Annotated[str, typer.Option(help="Numbers of targets.")] = ",".join(map(str, SIZES)),
    call_ms: Annotated[float, typer.Option(help="What AWS is assumed to take to answer one call.")] = 40.0,
    cpu_share: Annotated[float, typer.Option(help="Of a core that the function has: 512 MB of 1,769.")] = 0.29,
) -> None:
    """Measure and print."""
    table = Table("targets", title="A tick of RealtimeTarget that changes nothing")
    for heading in ("first CPU s", "warm CPU s", "peak MiB", "first calls", "warm calls", "first s *", "warm s *"):
        table.add_column(heading, justify="right")
    measured = []
    for count in map(int, sizes.split(",")):
        found = measure(count)
        measured.append(found)
        calls = [sum(each.values()) for each in (found.first_calls, found.warm_calls)]
        waits = [
            n * call_ms / 1000 + cpu / cpu_share for n, cpu in zip(calls, (found.first_s, found.warm_s), strict=True)
        ]
        row = (f"{found.first_s:.3f}", f"{found.warm_s:.3f}", f"{found.peak_mib:.0f}")
        table.add_row(f"{count:,}", *row, *(f"{n:,}" for n in calls), *(f"{wait:.1f}" for wait in waits))
    out = Console(width=110)
    out.print(table)
    out.print(f"* with {call_ms:g} ms a call and {cpu_share:g} of this core; the time-out is {TIMEOUT_S} s")
    out.print(f"warm calls of {measured[-1].targets:,}: {json.dumps(measured[-1].warm_calls)}", soft_wrap=True)
    if len([each for each in measured if each.targets >= FITTED_FROM]) >= FEWEST_FITTED:
        exponent, fit = growth(measured)
        out.print(f"warm CPU grows as targets^{exponent:.2f} from {FITTED_FROM} on (R^2 {fit:.3f})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", count, file]:
            record(int(count), file)
        case ["play", file]:
            play(file)
        case _:
            typer.run(main)
