"""Where one pass stops serving: own CPU, memory and calls of a tick of RealtimeTarget over up to 5,000 targets.

`python -m bench.scale` (`make speed`); with `--function FleetSync` the hourly pass, calm and with the fits of those
targets whose hour it is, a 24th. The deployed handler runs with its real clients twice. First against the simulated
account, which writes down what it answers; then in a process of its own that holds nothing but the controller
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import botocore.session
import typer
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from rich.console import Console
from rich.table import Table

from bench.invocation import Invocation, named
from simulator.transport import Raw

if TYPE_CHECKING:
    from simulator.account import SimulatedAccount

ROOT = Path(__file__).resolve().parents[1]
SIZES = (1, 10, 100, 500, 1000, 2000, 5000)
PASSES = 4
"""The first is that of a fresh execution environment, the others find what it left."""

FITTED_FROM, FEWEST_FITTED = 100, 3
START = datetime(2026, 11, 18, 8, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HISTORY = 25
"""Minutes that are measured before the first pass: more than a pass looks back."""

OWNER, SYNC = "RealtimeTarget", "FleetSync"
TIMEOUT_S = {OWNER: 50, SYNC: 300}
LOAD = 1500.0
"""Requests a minute of each endpoint."""
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


def tick(at: datetime, function: str) -> None:
    """Invoke the deployed handler as it is."""
    from core.aws import clock  # noqa: PLC0415 - a process that only prints the table needs no controller
    from handlers import fleet_sync, realtime_target  # noqa: PLC0415

    clock.now = lambda: at
    handler = {OWNER: realtime_target, SYNC: fleet_sync}[function].handler
    handler({"trigger": "schedule"}, Invocation(TIMEOUT_S[function]))


def record(count: int, file: str, function: str = OWNER) -> None:
    """Play passes over so many endpoints that need nothing, and keep what AWS answered.

    Before those of FleetSync each target has a fit; before the last the fit is a day old where this is its hour.
    """
    from core.aws import clock  # noqa: PLC0415
    from handlers import wiring  # noqa: PLC0415
    from simulator import aas  # noqa: PLC0415
    from simulator.account import SimulatedAccount  # noqa: PLC0415
    from simulator.workload import RealtimeWorkload  # noqa: PLC0415
    from tests.chaos.cloud import CloudAccount  # noqa: PLC0415

    aas.MAX_TARGETS = 10 * max(SIZES)  # an account whose quota was raised
    account = SimulatedAccount(START, region=ENVIRONMENT["AWS_DEFAULT_REGION"], record_calls=False)
    names = [f"endpoint-{number:04}" for number in range(count)]
    for name in names:
        load = RealtimeWorkload(per_minute_requests=[round(LOAD)] * 100, capacity_per_instance=1000)
        account.add_endpoint(name=name, workload=load, instance_count=3)
    web = {"kind": "realtime", "min_capacity": 2, "max_capacity": 12, "objectives": {"requests_per_instance": 1000}}
    endpoints = [{"name": n, "profile": "web"} for n in names]
    document = {"version": 1, "scalable_targets": aas.MAX_TARGETS, "profiles": {"web": web}, "endpoints": endpoints}
    cloud = CloudAccount(account=account, document=document)
    ids = {"sagemaker": "sagemaker", "application-auto-scaling": "application-autoscaling"}
    kept: dict[str, Reply] = {}
    calls, times, number = Counter[str](), Counter[str](), 0

    def answering(service: str, operation: str, request: AWSPreparedRequest) -> Reply:
        answer = cloud.answer(ids.get(service, service), operation, request)
        calls[operation] += 1
        kept[named(number, operation, request.body, times)] = (answer.status, answer.body, dict(answer.headers))
        return answer.status, answer.body, dict(answer.headers)

    with answered(answering), shelve.open(file) as shelf:  # noqa: S301 - our own
        clock.now = lambda: account.now
        tick(account.now, SYNC)
        wiring.from_environment.cache_clear()  # what is measured has an execution environment of its own
        for _ in range(HISTORY):
            account.advance()
        if function == SYNC:
            learned(account, names, days=0)
        for number in range(PASSES):
            if function == SYNC and number == PASSES - 1:
                learned(account, names, days=1)
            for each in (kept, calls, times):
                each.clear()
            tick(account.now, function)
            shelf.update({f"{number} at": account.now, f"{number} calls": dict(calls), **kept})
            account.advance()


def learned(account: "SimulatedAccount", names: Sequence[str], days: int) -> None:
    """Give targets a fit that is so many days old: all one of today, or those whose hour it is an older one."""
    import boto3  # noqa: PLC0415

    from core.aws.store import Table as Store  # noqa: PLC0415
    from core.learning.fit import HISTORY as WEEKS  # noqa: PLC0415
    from core.learning.fit import RECENT, fit  # noqa: PLC0415
    from core.model import Observation, Point, ScalableTarget  # noqa: PLC0415
    from simulator.metrics import epoch_minute, metric_key, sample  # noqa: PLC0415

    store, begin = Store(boto3.client("dynamodb"), ENVIRONMENT["TIDEGATE_TABLE"]), account.now - timedelta(days=days)
    known = fit(Observation(tuple(Point(begin - n * MINUTE, LOAD) for n in range(WEEKS // MINUTE, 0, -1))), 1000)
    if known is None:
        raise RuntimeError("two weeks of one load must be learned")
    missing = range(RECENT // MINUTE + PASSES, WEEKS // MINUTE) if days else range(HISTORY + 1, RECENT // MINUTE)
    for target in (ScalableTarget.variant(name, "AllTraffic") for name in names):
        if days and account.now.hour != target.turn(24):
            continue
        store.put_learned(target, known)
        dimensions = [{"Name": name, "Value": value} for name, value in target.names.items()]
        for minute in missing:
            at = epoch_minute(account.now) - minute
            account.cloudwatch.store.put(metric_key("AWS/SageMaker", "Invocations", dimensions), at, sample(LOAD))


def play(file: str, function: str = OWNER) -> None:
    """Make the same passes from the file, and print what they cost."""
    number, seconds, times = 0, [], Counter[str]()
    with shelve.open(file, "r") as shelf:  # noqa: S301 - written by `record`
        reading = 0.0

        def answering(_service: str, operation: str, request: AWSPreparedRequest) -> Reply:
            nonlocal reading
            began = time.process_time()
            reply: Reply = shelf[named(number, operation, request.body, times)]
            reading += time.process_time() - began
            return reply

        with answered(answering):
            for number in range(PASSES):
                times.clear()
                reading, began = 0.0, time.process_time()
                tick(shelf[f"{number} at"], function)
                seconds.append(time.process_time() - began - reading)
        calls = [shelf[f"{number} calls"] for number in range(PASSES)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "calls": calls}))


@dataclass(frozen=True, slots=True)
class Measured:
    """What passes over so many targets cost: of a fresh environment, and in the median of those after it.

    `fits` are those of FleetSync's last pass, which is none of the median, and `fitting_s` what it took.
    """

    targets: int
    first_s: float
    warm_s: float
    peak_mib: float
    first_calls: Mapping[str, int]
    warm_calls: Mapping[str, int]
    fits: int = 0
    fitting_s: float = 0.0


def measure(count: int, function: str = OWNER) -> Measured:
    """Record and play in processes of their own."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "answers")
        alone("record", str(count), file, function)
        found = json.loads(alone("play", file, function))
    calm, fits, fitting_s = found["seconds"][1:], 0, 0.0
    if function == SYNC:
        *calm, fitting_s = calm
        fits = found["calls"][-1].get("PutItem", 0) - found["calls"][1].get("PutItem", 0)
    warm = sorted(zip(calm, found["calls"][1:], strict=False), key=lambda each: each[0])[(len(calm) - 1) // 2]
    first = (count, found["seconds"][0], warm[0], found["peak_mib"], found["calls"][0], warm[1])
    return Measured(*first, fits, fitting_s)


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
    cpu_share: Annotated[float | None, typer.Option(help="Of a core that the function has; by its memory.")] = None,
    function: Annotated[str, typer.Option(help=f"{OWNER} or {SYNC}.")] = OWNER,
) -> None:
    """Measure and print."""
    from bench.cost import core_share  # noqa: PLC0415 - the measured process must not hold what it imports

    share = core_share(function) if cpu_share is None else cpu_share
    table = Table("targets", title=f"A tick of {function} that changes nothing")
    for heading in ("first CPU s", "warm CPU s", "peak MiB", "first calls", "warm calls", "first s *", "warm s *"):
        table.add_column(heading, justify="right")
    measured = []
    for count in map(int, sizes.split(",")):
        found = measure(count, function)
        measured.append(found)
        calls = [sum(each.values()) for each in (found.first_calls, found.warm_calls)]
        waits = [n * call_ms / 1000 + cpu / share for n, cpu in zip(calls, (found.first_s, found.warm_s), strict=True)]
        row = (f"{found.first_s:.3f}", f"{found.warm_s:.3f}", f"{found.peak_mib:.0f}")
        table.add_row(f"{count:,}", *row, *(f"{n:,}" for n in calls), *(f"{wait:.1f}" for wait in waits))
    out = Console(width=110)
    out.print(table)
    out.print(f"* with {call_ms:g} ms a call and {share:.2g} of this core; the time-out is {TIMEOUT_S[function]} s")
    for each in measured if function == SYNC else ():
        more = each.fitting_s - each.warm_s
        out.print(
            f"{each.targets:,} targets, {each.fits} of them fitted: {each.fitting_s:.1f} s of CPU, {more:.1f} more"
        )
    out.print(f"warm calls of {measured[-1].targets:,}: {json.dumps(measured[-1].warm_calls)}", soft_wrap=True)
    if len([each for each in measured if each.targets >= FITTED_FROM]) >= FEWEST_FITTED:
        exponent, fit = growth(measured)
        out.print(f"warm CPU grows as targets^{exponent:.2f} from {FITTED_FROM} on (R^2 {fit:.3f})")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", count, file, *function]:
            record(int(count), file, *function)
        case ["play", file, *function]:
            play(file, *function)
        case _:
            typer.run(main)
