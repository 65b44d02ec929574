"""Run one event through its real handler against a small simulated fleet: `python -m simulator.invoke EVENT_FILE`.

The fleet has the endpoints that the files of `events/` name. It was enrolled half an hour ago and nobody has looked at
it since, so an event finds something to do. A deployment that an event reports has happened; alarms are not set off,
because handlers believe nothing an event says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import TidegateError
from core.ports import StateStore
from handlers import policy_validator
from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.sagemaker import IN_SERVICE, event_status
from simulator.stack import MAKERS, SimulatedStack
from simulator.workload import AsyncWorkload, ComponentWorkload, NoWorkload, RealtimeWorkload

NOW = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)
"""When the event arrives; the overrides in `events/` end three hours later."""

ENROLLED_FOR = 30
"""Minutes since the fleet was enrolled: longer than a stabilization window, so that nothing is held for being new."""

FUNCTIONS = (*MAKERS, "PolicyValidator")

FLEET: Mapping[str, Any] = {
    "version": 1,
    "profiles": {
        "ranker": {
            "kind": "realtime",
            "min_capacity": 2,
            "max_capacity": 12,
            "objectives": {"requests_per_instance": 1200},
            "policies": [
                {"type": "target_tracking", "metric": "requests_per_instance", "target": 720},
                {"type": "step", "metric": "cpu", "steps": [{"lower": 70, "change": 2}]},
            ],
        },
        "ocr": {
            "kind": "async",
            "min_capacity": 0,
            "max_capacity": 8,
            "objectives": {"items_per_minute": 4, "drain_within": "15m"},
        },
        "scoring": {
            "kind": "batch",
            "min_capacity": 1,
            "max_capacity": 10,
            "objectives": {"requests_per_instance": 600},
            "windows": [{"name": "night", "start": "02:00", "duration": "4h", "min_capacity": 6}],
        },
        "chat": {
            "kind": "realtime",
            "serving": "inference_component",
            "min_capacity": 0,
            "max_capacity": 6,
            "objectives": {"requests_per_instance": 30},
        },
    },
    "endpoints": [
        {"name": "orders-ranker-prod", "profile": "ranker"},
        {"name": "doc-ocr-async-prod", "profile": "ocr"},
        {"name": "nightly-scoring-prod", "profile": "scoring"},
        {"name": "llm-prod", "inference_component": "chat-8b-component", "profile": "chat"},
    ],
}


@dataclass(frozen=True, slots=True)
class Example:
    """An event file and the function it is for."""

    function: str
    event: dict[str, Any]

    @classmethod
    def read(cls, path: Path, function: str | None = None) -> "Example":
        """Read an event file; without `function` its name tells whose event it is.

        Raises:
            ValueError: if there is no such file or function, or no JSON object in it.
        """
        try:
            event = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as err:
            raise ValueError(f"{path}: no event can be read from it: {err}") from err
        if not isinstance(event, dict):
            raise ValueError(f"{path}: must hold a JSON object, an event")  # noqa: TRY004 - the file's fault, not a type's
        name = function or _function_by_prefix(path.stem)
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise ValueError(f"{name or path.name}: must be, or begin with, the name of a function ({known})")
        return cls(name, event)

    def run(self, stack: SimulatedStack) -> dict[str, Any] | None:
        """Hand the event to its function and return the reply.

        Raises:
            TidegateError: as the handler does.
        """
        if self.function == "PolicyValidator":
            policy_validator.handler(self.event, None)
            return None
        return stack.invoke(self.function, self.event)


def _function_by_prefix(stem: str) -> str | None:
    """Return `RealtimeTarget` for `realtime-target-alarm`."""
    return next((name for name in FUNCTIONS if stem.replace("-", "").startswith(name.lower())), None)


def small_fleet(store: StateStore | None = None) -> SimulatedStack:
    """Return the fleet as it is at `NOW`: orders have picked up, and documents wait although no instance runs.

    Questions to a model without a copy were refused, and AAS has just ordered copies by itself.
    """
    start = NOW - timedelta(minutes=ENROLLED_FOR)
    account = SimulatedAccount(start, region="us-east-1")
    account.add_endpoint(
        name="orders-ranker-prod",
        workload=RealtimeWorkload(per_minute_requests=[900] * 27 + [3000] * 60, capacity_per_instance=1200),
        instance_type="ml.c5.xlarge",
        instance_count=3,
        tags={"team": "search"},
    )
    documents = [0] * 26 + [20] * 4
    account.add_endpoint(
        name="doc-ocr-async-prod",
        workload=AsyncWorkload(
            per_minute_requests=documents,
            per_minute_work_seconds=[15.0 * n for n in documents],
            objective=timedelta(minutes=15),
        ),
        instance_count=0,
        asynchronous=True,
    )
    account.add_endpoint(
        name="nightly-scoring-prod",
        workload=RealtimeWorkload(per_minute_requests=[40] * 90, capacity_per_instance=600),
        instance_type="ml.m5.xlarge",
        instance_count=1,
    )
    account.add_endpoint(
        name="llm-prod", workload=NoWorkload(), instance_count=0, managed=Managed(minimum=0, maximum=6)
    )
    account.add_component(
        name="chat-8b-component",
        endpoint="llm-prod",
        workload=ComponentWorkload(per_minute_requests=[0] * 27 + [70] * 60, capacity_per_instance=30),
        copies=0,
    )
    stack = SimulatedStack(account, FLEET, stage="prod", store=store)
    stack.invoke("FleetSync", {"trigger": "schedule"})
    while account.now < NOW:
        account.advance()
    return stack


def make_true(account: SimulatedAccount, event: Mapping[str, Any]) -> None:
    """Let the deployment happen that an endpoint state change reports; any other event needs nothing."""
    detail = event.get("detail", {})
    endpoint = account.sagemaker.endpoints.get(detail.get("EndpointName"))
    if endpoint is None or detail.get("EndpointStatus") != event_status(IN_SERVICE):
        return
    account.deploy(endpoint.name, int(detail["ProductionVariants"][0]["DesiredInstanceCount"]))
    while endpoint.status != IN_SERVICE:
        account.advance()


def main(
    event_file: Annotated[Path, typer.Argument(help="A file of events/, or one like it.")],
    function: Annotated[str | None, typer.Option(help=f"One of {', '.join(FUNCTIONS)}.")] = None,
) -> None:
    """Run one event through its real handler against a small simulated fleet and print the reply.

    Examples:
      python -m simulator.invoke events/override-pin.json
      python -m simulator.invoke events/realtime-target-schedule.json --function BatchWindow
    """
    try:
        example = Example.read(event_file, function)
    except ValueError as err:
        typer.echo(f"Error: {err}", err=True)
        raise typer.Exit(2) from err
    stack = small_fleet()
    make_true(stack.account, example.event)
    try:
        reply = example.run(stack)
    except TidegateError as err:
        typer.echo(f"{type(err).__name__}: {err}", err=True)
        raise typer.Exit(1) from err
    typer.echo(json.dumps(reply, indent=2))


if __name__ == "__main__":
    typer.run(main)
