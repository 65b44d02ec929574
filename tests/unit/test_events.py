"""Every file of events/ goes through its real handler, as `python -m simulator.invoke` sends it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from core.errors import ConfigError
from simulator.account import SimulatedAccount
from simulator.invoke import FLEET, NOW, Example, main, make_true, small_fleet
from simulator.stack import OWNERS, SimulatedStack

ROOT = Path(__file__).resolve().parents[2]
EVENTS = sorted((ROOT / "events").glob("*.json"))
ORDERS, DOCUMENTS, SCORING, _LLM = (endpoint["name"] for endpoint in FLEET["endpoints"])
CHAT = "chat-8b-component"

Bounds = dict[str, tuple[int, int]]
UNTOUCHED: Bounds = {ORDERS: (2, 12), DOCUMENTS: (0, 8), SCORING: (1, 10)}
WRITES = ("Register", "Deregister", "Put", "Delete", "Update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What an event did to the small fleet."""

    stack: SimulatedStack
    reply: dict[str, Any]
    before: dict[str, dict[str, Any]]

    @property
    def after(self) -> dict[str, dict[str, Any]]:
        return snapshots(self.stack.account)

    @property
    def bounds(self) -> Bounds:
        return {name: snapshot["bounds"] for name, snapshot in self.after.items()}

    @property
    def looked_at(self) -> list[str]:
        return [target["target"].split("/")[1] for target in self.reply["targets"]]

    @property
    def only(self) -> Mapping[str, Any]:
        """What the reply says of the only target looked at."""
        (target,) = self.reply["targets"]
        said: Mapping[str, Any] = target
        return said

    def falls_back_to(self, endpoint: str) -> tuple[tuple[int, int], str]:
        """Return the bounds that the expiry action restores, and when."""
        settings = self.after[endpoint]["scheduled_actions"]["tidegate-prod-expiry"]
        restored = settings["ScalableTargetAction"]
        return (restored["MinCapacity"], restored["MaxCapacity"]), f"{settings['StartTime']:%H:%M}"


def snapshots(account: SimulatedAccount) -> dict[str, dict[str, Any]]:
    return {name: account.snapshot(name) for name in (ORDERS, DOCUMENTS, SCORING)}


def writes(stack: SimulatedStack, since: int) -> list[str]:
    return [call.operation for call in stack.account.calls[since:] if call.operation.startswith(WRITES)]


def send(example: Example) -> Sent:
    stack = small_fleet()
    make_true(stack.account, example.event)
    before = snapshots(stack.account)
    reply = example.run(stack)
    assert reply is not None
    return Sent(stack=stack, reply=reply, before=before)


# ---- what each event does -----------------------------------------------------------------------------------------


def orders_rise_alone(example: Example) -> None:
    """3000 requests/min need ceil(3000 / 1200) = 3 instances."""
    sent = send(example)
    assert sent.looked_at == [ORDERS]
    assert sent.only["reason"] == "Load"
    assert sent.bounds == {**UNTOUCHED, ORDERS: (3, 12)}
    assert sent.falls_back_to(ORDERS) == ((2, 12), "10:00")


def orders_and_chat_are_looked_at(example: Example) -> None:
    sent = send(example)
    assert sent.looked_at == [ORDERS, CHAT]
    assert sent.bounds == {**UNTOUCHED, ORDERS: (3, 12)}  # of chat, see the next


def a_component_that_aas_woke_is_waited_for(example: Example) -> None:
    """70 refused requests need ceil(70 / 30) = 3 copies: AAS has ordered them; the floor follows when they are there."""
    sent = send(example)
    assert sent.looked_at == [CHAT]
    assert (sent.only["reason"], sent.only["status"]) == ("NoCapacity", "waiting")
    assert (sent.only["seen"]["requests_refused"], sent.only["min_capacity"], sent.only["running"]) == (70, 3, 3)
    assert sent.stack.account.snapshot(CHAT)["bounds"] == (0, 6)
    for _ in range(12):
        sent.stack.minute()
    assert sent.stack.account.snapshot(CHAT)["bounds"] == (3, 6)
    assert sent.stack.account.sagemaker.components.by_name[CHAT].current_count >= 3


def documents_wake(example: Example) -> None:
    """40 items are 10 minutes of work, and some more come meanwhile; from zero, little more than 2.7 are left for it.

    10 / 2.7 = 3.7, and with those that are to be expected while the first start blocks the next one: 5 instances.
    """
    sent = send(example)
    assert sent.looked_at == [DOCUMENTS]
    assert sent.only["seen"]["backlog"] == 40
    assert sent.bounds == {**UNTOUCHED, DOCUMENTS: (5, 5)}
    assert sent.stack.account.endpoint(DOCUMENTS).desired_count == 5


def an_idle_alarm_is_not_believed(example: Example) -> None:
    """The alarm says that the queue is empty; it is not, and the truth counts."""
    assert "idle" in example.event["detail"]["alarmName"]
    documents_wake(example)


def scoring_rests_by_day(example: Example) -> None:
    """At 09:00 the night window (02:00 to 06:00) is shut: looked at, and nothing to write."""
    stack = small_fleet()
    since = len(stack.account.calls)
    reply = example.run(stack)
    assert reply is not None
    assert [(target["target"], target["status"]) for target in reply["targets"]] == [
        (f"endpoint/{SCORING}/variant/AllTraffic", "unchanged")
    ]
    assert writes(stack, since) == []


def the_whole_fleet_is_synced(example: Example) -> None:
    sent = send(example)
    assert sent.looked_at == [ORDERS, DOCUMENTS, SCORING, CHAT]
    assert sent.bounds == {ORDERS: (3, 12), DOCUMENTS: (5, 5), SCORING: (1, 10)}
    assert {name: state["policies"] for name, state in sent.after.items()} == {
        name: state["policies"] for name, state in sent.before.items()
    }


def a_finished_deployment_is_settled(example: Example) -> None:
    """The deployment brought 6 instances; bounds and policies of this one endpoint are put in order."""
    sent = send(example)
    assert sent.looked_at == [ORDERS]
    assert sent.stack.account.endpoint(ORDERS).config_name == f"{ORDERS}-config-2"
    assert sent.only["status"] == "changed"
    assert sent.bounds[ORDERS] == (3, 12)
    assert sent.after[ORDERS]["policies"] == sent.before[ORDERS]["policies"]


def a_pin_holds_both_bounds_at_six(example: Example) -> None:
    sent = send(example)
    assert (sent.only["reason"], sent.reply["override"]) == ("OverridePin", "ops-2026-11-18-001")
    assert sent.bounds == {**UNTOUCHED, ORDERS: (6, 6)}
    assert sent.stack.account.endpoint(ORDERS).desired_count == 6
    assert sent.falls_back_to(ORDERS) == ((2, 12), "12:00")  # when the override ends, not an hour from now


def a_floor_raises_the_minimum_only(example: Example) -> None:
    sent = send(example)
    assert sent.only["reason"] == "OverrideFloor"
    assert sent.bounds == {**UNTOUCHED, ORDERS: (4, 12)}
    assert sent.falls_back_to(ORDERS) == ((2, 12), "12:00")


def a_ceiling_lowers_the_maximum_only(example: Example) -> None:
    sent = send(example)
    assert sent.only["reason"] == "OverrideCeiling"
    assert sent.bounds == {**UNTOUCHED, DOCUMENTS: (3, 3)}
    assert sent.falls_back_to(DOCUMENTS) == ((0, 8), "12:00")


def a_pause_writes_nothing_and_binds_the_ticks_after_it(example: Example) -> None:
    sent = send(example)
    assert sent.only["status"] == "paused"
    tick = sent.stack.invoke("RealtimeTarget", {"trigger": "schedule"})
    assert [target["status"] for target in tick["targets"]] == ["paused", "waiting"]
    assert sent.after == sent.before


def a_dry_run_says_all_and_does_nothing(example: Example) -> None:
    stack = small_fleet()
    since, before = len(stack.account.calls), snapshots(stack.account)
    reply = example.run(stack)
    assert reply is not None
    (said,) = reply["targets"]
    assert (said["status"], said["min_capacity"], said["max_capacity"]) == ("dry_run", 6, 6)
    assert "set bounds to 6..6 (differs)" in said["actions"]
    assert writes(stack, since) == []
    assert snapshots(stack.account) == before
    tick = stack.invoke("RealtimeTarget", {"trigger": "schedule"})  # and no override was kept
    assert [(t["min_capacity"], t["max_capacity"]) for t in tick["targets"]] == [(3, 12), (3, 6)]


def a_pause_of_the_fleet_binds_every_owner(example: Example) -> None:
    sent = send(example)
    assert {target["status"] for target in sent.reply["targets"]} == {"paused"}
    for owner in ("RealtimeTarget", "AsyncQueue", "BatchWindow"):
        assert {t["status"] for t in sent.stack.invoke(owner, {"trigger": "schedule"})["targets"]} == {"paused"}
    assert sent.after == sent.before


def a_floor_of_a_profile_reaches_its_target(example: Example) -> None:
    sent = send(example)
    assert (sent.only["reason"], sent.only["seen"]["scope"]) == ("OverrideFloor", "profile ranker")
    assert sent.bounds == {**UNTOUCHED, ORDERS: (4, 12)}


def a_tag_reaches_the_endpoint_that_carries_it(example: Example) -> None:
    sent = send(example)
    assert (sent.only["reason"], sent.only["seen"]["scope"]) == ("OverridePin", "tag team=search")
    assert sent.bounds == {**UNTOUCHED, ORDERS: (5, 5)}


def a_resume_gives_back_what_the_signals_want(example: Example) -> None:
    """Pinned to 6 before; the ceiling is the policy's again, the floor what a guard that saw two overloaded wants."""
    stack = small_fleet()
    pin = Example.read(ROOT / "events/override-pin.json").run(stack)
    assert pin is not None
    assert stack.account.snapshot(ORDERS)["bounds"] == (6, 6)
    reply = example.run(stack)
    assert reply is not None
    assert reply["ended"] == [pin["override"]]
    assert stack.account.snapshot(ORDERS)["bounds"] == (6, 6)  # the six instances of the pin are still coming
    for _ in range(7):
        stack.minute()
    assert stack.account.snapshot(ORDERS)["bounds"] == (6, 12)
    assert reply["targets"][0]["reason"] == "Saturated"


def a_good_policy_is_accepted(example: Example) -> None:
    assert example.run(small_fleet()) is None


def a_bad_policy_is_refused_with_both_problems(example: Example) -> None:
    with pytest.raises(ConfigError) as caught:
        example.run(small_fleet())
    assert {problem.path for problem in caught.value.problems} == {
        ("profiles", "ranker", "max_capacity"),
        ("profiles", "ranker", "max_instances"),
    }


DOES: dict[str, Callable[[Example], None]] = {
    "async-queue-alarm-idle": an_idle_alarm_is_not_believed,
    "async-queue-alarm-wake": documents_wake,
    "async-queue-schedule": documents_wake,
    "batch-window-alarm": scoring_rests_by_day,
    "batch-window-schedule": scoring_rests_by_day,
    "fleet-sync-endpoint-in-service": a_finished_deployment_is_settled,
    "fleet-sync-schedule": the_whole_fleet_is_synced,
    "override-ceiling": a_ceiling_lowers_the_maximum_only,
    "override-dry-run": a_dry_run_says_all_and_does_nothing,
    "override-fleet": a_pause_of_the_fleet_binds_every_owner,
    "override-floor": a_floor_raises_the_minimum_only,
    "override-pause": a_pause_writes_nothing_and_binds_the_ticks_after_it,
    "override-pin": a_pin_holds_both_bounds_at_six,
    "override-profile": a_floor_of_a_profile_reaches_its_target,
    "override-resume": a_resume_gives_back_what_the_signals_want,
    "override-tag": a_tag_reaches_the_endpoint_that_carries_it,
    "policy-validator-invalid": a_bad_policy_is_refused_with_both_problems,
    "policy-validator-valid": a_good_policy_is_accepted,
    "realtime-target-alarm": orders_rise_alone,
    "realtime-target-alarm-no-capacity": a_component_that_aas_woke_is_waited_for,
    "realtime-target-schedule": orders_and_chat_are_looked_at,
}


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_an_event_does_what_it_is_for(path: Path) -> None:
    assert path.stem in DOES, "say here what the new event does"
    DOES[path.stem](Example.read(path))


@pytest.mark.parametrize("function", [*OWNERS.values(), "FleetSync"])
def test_schedule_keywords_that_nobody_replaced_break_nothing(function: str) -> None:
    """EventBridge Scheduler replaces them in the payload; other schedulers and hand-made invocations do not."""
    payload = {
        "trigger": "schedule",
        "scheduled_time": "<aws.scheduler.scheduled-time>",
        "schedule_arn": "<aws.scheduler.schedule-arn>",
        "attempt_number": "<aws.scheduler.attempt-number>",
    }
    assert send(Example(function, payload)).looked_at


def test_the_alarms_of_the_events_are_those_that_the_fleet_has() -> None:
    stack = small_fleet()
    named = {event["detail"]["alarmName"] for event in map(_read, EVENTS) if "alarmName" in event.get("detail", {})}
    pages = stack.account.client("cloudwatch").get_paginator("describe_alarms").paginate()
    assert named <= {alarm["AlarmName"] for page in pages for alarm in page["MetricAlarms"]}


def test_the_fleet_waits_for_the_event() -> None:
    stack = small_fleet()
    assert stack.account.now == NOW
    assert stack.invocations == {"FleetSync": 1}
    assert {name: state["bounds"] for name, state in snapshots(stack.account).items()} == UNTOUCHED
    assert {stack.account.endpoint(name).status for name in (ORDERS, DOCUMENTS, SCORING)} == {"InService"}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# ---- the command --------------------------------------------------------------------------------------------------


def call(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_the_reply_is_printed_as_json() -> None:
    code, out, err = call(str(ROOT / "events/override-pin.json"))
    assert (code, err) == (0, "")
    assert json.loads(out)["override"] == "ops-2026-11-18-001"


def test_an_event_may_be_sent_to_another_function() -> None:
    code, out, _ = call(str(ROOT / "events/realtime-target-schedule.json"), "--function", "BatchWindow")
    assert code == 0
    assert SCORING in out


def test_what_a_handler_refuses_fails() -> None:
    code, out, err = call(str(ROOT / "events/policy-validator-invalid.json"))
    assert (code, out) == (1, "")
    assert "profiles.ranker.max_capacity = 12: must be at least min_capacity (14)" in err
    assert "max_instances" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["override-nobody.json"], "no event can be read from it"),
        ([str(ROOT / "LICENSE")], "no event can be read from it"),
        ([str(ROOT / "events/override-pin.json"), "--function", "Overrule"], "Overrule: must be"),
    ],
)
def test_misuse_is_told_in_one_line(arguments: list[str], why: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert why in err


def test_a_name_that_fits_no_function_is_misuse(tmp_path: Path) -> None:
    stray = tmp_path / "somebody-elses.json"
    stray.write_text("{}", encoding="utf-8")
    code, _, err = call(str(stray))
    assert code == 2
    assert "RealtimeTarget, AsyncQueue, BatchWindow, FleetSync, Override, PolicyValidator" in err
