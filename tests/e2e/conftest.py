"""The template really deployed into an embedded account, once for all tests, with endpoints to steer."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from local_account.account import Invocation, LocalAccount
from local_account.sam import Sam, runtime_of
from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.invoke import FLEET
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload

ROOT = Path(__file__).resolve().parents[2]
SAM = ROOT / ".tools/sam/bin/sam"
MINISTACK_PYTHON = ROOT / ".tools/ministack/bin/python"
START = datetime(2026, 11, 18, 1, 0, tzinfo=UTC)
DAY = 24 * 60

ORDERS, DOCUMENTS, SCORING = "orders-ranker-prod", "doc-ocr-async-prod", "nightly-scoring-prod"
QUIET = "quiet-ranker-prod"
LLM, CHAT = "llm-prod", "chat-8b-component"
RANKER = FLEET["profiles"]["ranker"]
SLOW = {"ranker": {**RANKER, "objectives": {**RANKER["objectives"], "latency_p95": "800ms"}}}  # idle 200 ms
POLICY = {
    **FLEET,
    "profiles": {**FLEET["profiles"], **SLOW},
    "endpoints": [*FLEET["endpoints"], {"name": QUIET, "profile": "ranker"}],
}


OWN_ACCOUNTS = {f"test_{what}.py" for what in ("crash", "deployments", "parts", "parts_of_a_tick", "queue", "walk")}
"""Files whose tests need nothing of the session's account."""


class ByAccount(LoadFileScheduling):  # type: ignore[misc]  # xdist ships no types
    """Of two processes, one has the session's account and all that share it; the other goes from file to file."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return file if Path(file).name in OWN_ACCOUNTS else "the session's account"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByAccount:
    return ByAccount(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)  # it judges what the others did


def small_account(
    start: datetime = START, region: str = "eu-central-1", account_id: str = "123456789012"
) -> SimulatedAccount:
    """The endpoints of `POLICY`; rankers have some traffic, the others hardly any."""
    account = SimulatedAccount(start, region, account_id)
    for ranker in (ORDERS, QUIET):
        account.add_endpoint(
            name=ranker,
            workload=RealtimeWorkload(per_minute_requests=[900] * DAY, capacity_per_instance=1200),
            instance_type="ml.c5.xlarge",
            instance_count=2,
        )
    account.add_endpoint(
        name=DOCUMENTS,
        workload=AsyncWorkload(
            per_minute_requests=[0] * DAY, per_minute_work_seconds=[0.0] * DAY, objective=timedelta(minutes=15)
        ),
        instance_count=0,
        asynchronous=True,
    )
    account.add_endpoint(
        name=SCORING,
        workload=RealtimeWorkload(per_minute_requests=[40] * DAY, capacity_per_instance=600),
        instance_type="ml.m5.xlarge",
        instance_count=1,
    )
    account.add_endpoint(name=LLM, workload=NoWorkload(), instance_count=0, managed=Managed(minimum=0, maximum=6))
    silence = ComponentWorkload(per_minute_requests=[0] * DAY, capacity_per_instance=30)
    account.add_component(name=CHAT, endpoint=LLM, workload=silence, copies=0)
    return account


def say_nothing(_: object) -> None:
    pass


def embedded(account: SimulatedAccount, **more: Any) -> LocalAccount:
    return LocalAccount(account, sam=SAM, ministack_python=MINISTACK_PYTHON, say=say_nothing, **more)


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build for this machine, for accounts of tests that have nothing to do with the session's."""
    made = Sam(executable=SAM, folder=tmp_path_factory.mktemp("sam"), runtime=runtime_of(MINISTACK_PYTHON))
    made.build()
    return made.built


@pytest.fixture(scope="session")
def local() -> Iterator[LocalAccount]:
    """One account for the whole session, its fleet enrolled. Tests leave each other's endpoints alone."""
    with embedded(small_account(), record=True) as account:
        account.push_policy(POLICY)
        account.invoke("FleetSync", {"trigger": "policy"})
        yield account


@pytest.fixture
def restored(local: LocalAccount) -> Iterator[LocalAccount]:
    """Whatever a test delivers, the session's policy is back in force after it."""
    yield local
    local.push_policy(POLICY)
    local.restart_functions()
    local.invoke("FleetSync", {"trigger": "policy"})


@contextlib.contextmanager
def schedules_off(local: LocalAccount, *but: str) -> Iterator[None]:
    """No schedule fires but those of the functions named, so that whatever happens has another cause."""
    stack = local.pump.stack
    kept = {stack.functions[function] for function in but}
    local.pump.stack = replace(stack, ticks=tuple(tick for tick in stack.ticks if tick.target.function in kept))
    try:
        yield
    finally:
        local.pump.stack = stack


@contextlib.contextmanager
def controller_dead(local: LocalAccount) -> Iterator[None]:
    """Neither schedules nor rules reach a function."""
    stack = local.pump.stack
    local.pump.stack = replace(stack, ticks=(), rules=())
    try:
        yield
    finally:
        local.pump.stack = stack


@contextlib.contextmanager
def listening(local: LocalAccount, calls: list[Invocation]) -> Iterator[None]:
    """Note every invocation."""
    local.pump.listener = calls.append
    try:
        yield
    finally:
        local.pump.listener = say_nothing


def minutes(local: LocalAccount, count: int) -> list[dict[str, Any]]:
    """Let time pass; no invocation may fail in it."""
    events = [event for _ in range(count) for event in local.minute()]
    assert local.failures == []
    return events


def arrive(local: LocalAccount, endpoint: str, requests: int, *, work_seconds: float = 0.0, for_minutes: int) -> None:
    """Let this many requests arrive in each of the coming minutes."""
    workload: Any = local.account.endpoint(endpoint).workload
    for minute in range(workload.minute, workload.minute + for_minutes):
        workload.per_minute_requests[minute] = requests
        if work_seconds:
            workload.per_minute_work_seconds[minute] = requests * work_seconds


def scalable_target(local: LocalAccount, endpoint: str) -> Mapping[str, Any] | None:
    """What Application Auto Scaling says of the endpoint, asked with boto3 over HTTP."""
    client: Any = local.plant.client("application-autoscaling")
    with contextlib.closing(client):
        found = client.describe_scalable_targets(
            ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{endpoint}/variant/AllTraffic"]
        )["ScalableTargets"]
    return found[0] if found else None


def bounds(local: LocalAccount, endpoint: str) -> tuple[int, int] | None:
    target = scalable_target(local, endpoint)
    return None if target is None else (target["MinCapacity"], target["MaxCapacity"])


def processes_of(folder: Path) -> set[int]:
    """Everything that runs with this run directory in its environment, the workers of the Lambdas included."""
    mark = f"TIDEGATE_RUN_DIRECTORY={folder}".encode()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
        except OSError:  # gone, or not ours
            continue
    return found
