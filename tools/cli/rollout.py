"""A document on its way: delivered, in force, and looked at by the first pass, which says what it did."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.table import Table

from cli.delivery import Delivery, Stack
from cli.errors import DeliveryError
from cli.output import log
from cli.overrides import DONE
from cli.stack import DeployedStack
from cli.tables import plain
from core.model import Mode
from core.policy import Fleet

RELOADS = 24
"""Looks for the first pass that reads the new document, `RELOAD_SECONDS` apart: functions read it every 45 s."""

RELOAD_SECONDS = 5.0


def deliver(
    stack: DeployedStack, document: Mapping[str, Any], sleep: Callable[[float], None], *, wait: bool
) -> dict[str, Any]:
    """Deliver a document, let FleetSync act on it, and return what that did to each target.

    Args:
        stack: where to.
        document: what is delivered.
        sleep: waits so many seconds.
        wait: until AppConfig has finished watching the alarms; without it until the first pass is over.

    Raises:
        DeliveryError: it was rolled back, the pass failed, or somebody else's document is in force.
    """
    names = {field: stack.outputs[field] for field in Stack.__dataclass_fields__}
    delivery = Delivery(
        stack=Stack(**names), appconfig=stack.aws.of("appconfig"), functions=stack.aws.of("lambda"), sleep=sleep
    )
    passes: list[dict[str, Any]] = []

    def act(version: int) -> None:
        passes.append(first_pass(stack, document, sleep))
        log(f"Version {version} is in force, and its first pass is over.")

    done = delivery.deliver(dict(document), act, wait=wait)
    targets = [each for answer in passes for each in answer.get("targets", [])]
    return {"version": done["version"], "deployment": done["deployment"], "targets": targets}


def first_pass(stack: DeployedStack, document: Mapping[str, Any], sleep: Callable[[float], None]) -> dict[str, Any]:
    """Invoke FleetSync until it acts on this document, and return its answer.

    A warm function goes on with what it has read for 45 s; a pass keeps a copy of the document that it used.

    Raises:
        DeliveryError: it fails, or still reads another document after two minutes.
    """
    content = json.dumps(document).encode()
    for _ in range(RELOADS):
        answer = synced(stack)
        if stack.table.policy_copy() == content:
            if "errorMessage" in answer:
                raise DeliveryError(
                    f"FleetSync: {answer['errorMessage']}\n"
                    "AppConfig rolls the document back while that goes on; correct it and apply again."
                )
            return answer
        log("The functions still read the version before; they look again within 45 s.")
        sleep(RELOAD_SECONDS)
    raise DeliveryError("FleetSync does not read this document: did somebody else deliver another one meanwhile?")


def synced(stack: DeployedStack) -> dict[str, Any]:
    """Invoke FleetSync and return its answer; `errorMessage` is in it if some target failed."""
    reply = stack.aws.of("lambda").invoke(
        FunctionName=stack.outputs["fleet_sync"], Payload=json.dumps({"trigger": "policy"})
    )
    answer: dict[str, Any] = json.loads(reply["Payload"].read())
    return answer


def table_of(answer: Mapping[str, Any]) -> Table:
    """Return what a pass did to each target."""
    table = plain("target", "bounds", "running", "because", "status", "done")
    for each in answer["targets"]:
        table.add_row(
            each["target"],
            f"{each['min_capacity']}..{each['max_capacity']}" if "min_capacity" in each else "-",
            str(each.get("running", "-")),
            each.get("reason") or each.get("error") or "-",
            each["status"],
            "\n".join(each.get("actions", ()) if each["status"] in {"changed", "released"} else ())
            or DONE.get(each["status"], "-"),
        )
    return table


def activation(stack: DeployedStack) -> str:
    """Return the command that lets a stack write; `sam deploy` by itself means the one of samconfig.toml."""
    return f'sam deploy --stack-name {stack.name} --parameter-overrides "Stage={stack.stage} Mode=active"'


def next_steps(stack: DeployedStack, fleet: Fleet) -> Iterable[str]:
    """Yield which profiles are in shadow and which write, and what to do next."""
    modes = {
        name: Mode.SHADOW if Mode.SHADOW in {stack.mode, profile.mode} else Mode.ACTIVE
        for name, profile in fleet.profiles.items()
    }
    for mode, meaning in ((Mode.SHADOW, "decided and recorded, nothing is written"), (Mode.ACTIVE, "written to AWS")):
        if names := sorted(name for name, each in modes.items() if each is mode):
            yield f"{mode.value} ({meaning}): {', '.join(names)}"
    if stack.mode is Mode.SHADOW:
        yield f"The whole stack is in shadow: `{activation(stack)}` lets active profiles write."
    if Mode.SHADOW in modes.values():
        yield f"Next: let it watch for some days, then `tidegate shadow-report --stack {stack.name}`."
    elif modes:
        yield f"Next: `tidegate status --stack {stack.name}`, and `tidegate explain ENDPOINT --stack {stack.name}`."
