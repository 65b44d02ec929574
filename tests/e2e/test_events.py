"""What moves bounds in a deployed stack: alarms through its rules, schedules, an operator's request."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from local_account.account import Invocation, InvocationFailed, LocalAccount
from tests.e2e.conftest import (
    CHAT,
    DOCUMENTS,
    ORDERS,
    QUIET,
    SCORING,
    arrive,
    bounds,
    controller_dead,
    listening,
    minutes,
    schedules_off,
)


def changed_alarms(events: list[dict[str, Any]], state: str) -> set[str]:
    return {
        event["detail"]["alarmName"]
        for event in events
        if event["source"] == "aws.cloudwatch" and event["detail"]["state"]["value"] == state
    }


def test_a_backlog_wakes_an_empty_queue_through_alarm_rule_and_function(local: LocalAccount) -> None:
    assert bounds(local, DOCUMENTS) == (0, 8)
    arrive(local, DOCUMENTS, 100, work_seconds=15.0, for_minutes=3)
    before = local.invocations["AsyncQueue"]
    with schedules_off(local):
        events = minutes(local, 6)
    assert f"tidegate-target-local-async-{DOCUMENTS}-AllTraffic-wake" in changed_alarms(events, "ALARM")
    assert local.invocations["AsyncQueue"] > before
    found = bounds(local, DOCUMENTS)
    assert found is not None
    assert found[0] > 0


def test_refused_requests_wake_a_component_through_alarm_rule_and_function(local: LocalAccount) -> None:
    """70 requests a minute, 30 a copy: three copies, natively at once, and a floor that holds them from then on."""
    component = local.account.sagemaker.components.by_name[CHAT]
    workload: Any = component.workload
    assert local.account.snapshot(CHAT)["bounds"] == (0, 6)
    assert component.current_count == 0
    for minute in range(workload.minute, workload.minute + 30):
        workload.per_minute_requests[minute] = 70
    calls: list[Invocation] = []
    with schedules_off(local), listening(local, calls):
        minutes(local, 16)
    woken = [call for call in calls if call.event.get("detail", {}).get("alarmName", "").endswith(f"ic.{CHAT}-wake")]
    assert {call.function for call in woken} == {"RealtimeTarget"}
    assert woken[0].reply is not None
    (first,) = woken[0].reply["targets"]
    assert (first["target"], first["reason"]) == (f"inference-component/{CHAT}", "NoCapacity")
    assert (first["min_capacity"], first["running"]) == (3, 3)
    assert component.current_count >= 3
    assert component.host.current_count >= 3  # instances came for them


def test_a_cpu_step_alarm_reaches_the_owner_of_real_time_targets(local: LocalAccount) -> None:
    assert bounds(local, ORDERS) == (2, 12)
    arrive(local, ORDERS, 3000, for_minutes=30)  # 1,500 an instance where 1,200 are its capacity: every core is busy
    calls: list[Invocation] = []
    with schedules_off(local), listening(local, calls):
        minutes(local, 15)
    by_alarm = [
        call
        for call in calls
        if call.event.get("detail", {}).get("alarmName", "").endswith("-cpu-out")
        and call.event["detail"]["state"]["value"] == "ALARM"
    ]
    assert [call.function for call in by_alarm] == ["RealtimeTarget"]
    assert by_alarm[0].reply is not None
    said = by_alarm[0].reply["targets"][0]
    # The native step policy acts on the same alarm; its order is what the floor holds on to while load is at the ceiling.
    assert (said["reason"], said["min_capacity"]) == ("Saturated", said["running"])
    assert said["running"] > 3  # 3 would do for 3,000 requests, had nobody been turned away
    looked = [
        each for call in calls if call.reply for each in call.reply["targets"] if each["target"] == said["target"]
    ]
    done = [action for each in looked for action in each.get("actions", ())]  # once the endpoint has changed
    assert f"set bounds to {said['running']}..12 (differs)" in done


def test_a_tick_raises_the_floor_before_a_batch_window(local: LocalAccount) -> None:
    assert bounds(local, SCORING) == (1, 10)
    until = local.account.now.replace(hour=2, minute=0)
    with schedules_off(local, "BatchWindow"):
        minutes(local, max(1, (until - local.account.now) // timedelta(minutes=1)))
    assert bounds(local, SCORING) == (6, 10)


def test_the_deployed_schedules_fire_in_simulated_time_with_their_payloads(local: LocalAccount) -> None:
    calls: list[Invocation] = []
    with listening(local, calls):
        minutes(local, 1)
    (payload,) = [call.event for call in calls if call.function == "AsyncQueue" and "trigger" in call.event]
    assert payload["scheduled_time"] == f"{local.account.now:%Y-%m-%dT%H:%M:%SZ}"
    assert payload["schedule_arn"].endswith(":schedule/tidegate-local/tidegate-local-async-queue")
    assert payload["trigger"] == "schedule"
    found = local.aws["scheduler"].list_schedules(GroupName="tidegate-local")["Schedules"]
    assert {schedule["State"] for schedule in found} == {"DISABLED"}


def test_an_operator_pins_with_sam_and_the_pin_ends_by_itself(local: LocalAccount, tmp_path: Path) -> None:
    minutes(local, 1)
    expires = local.account.now + timedelta(minutes=4)
    event = tmp_path / "pin.json"
    event.write_text(
        json.dumps(
            {
                "request_id": "e2e-pin",
                "action": "pin",
                "target": QUIET,
                "capacity": 7,
                "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
                "reason": "a test",
                "requested_by": "e2e@example.com",
            }
        )
    )
    reply = json.loads(local.sam.remote_invoke("OverrideFunction", event))
    assert reply["override"] == "e2e-pin"
    assert bounds(local, QUIET) == (7, 7)
    minutes(local, 2)
    assert bounds(local, QUIET) == (7, 7)
    minutes(local, 12)  # instances ordered by the pin arrive first: one change at a time
    after = bounds(local, QUIET)
    assert after is not None
    assert after[1] == 12


def test_a_heartbeat_that_stops_rings_the_deployed_alarm(local: LocalAccount) -> None:
    alarm = local.account.cloudwatch.alarms["tidegate-ops-local-heartbeat-batch-window"]
    minutes(local, 15)
    assert alarm.state.value == "OK"
    with controller_dead(local):
        minutes(local, 25)  # CloudWatch looks two periods further back before it calls anything missing
    assert alarm.state.value == "ALARM"
    minutes(local, 15)
    assert alarm.state.value == "OK"


def test_what_fails_twice_is_delivered_to_the_dead_letter_queue_by_lambda(local: LocalAccount) -> None:
    url = local.outputs["DeadLetterQueueUrl"]
    name = local.deployed.functions["Override"]
    local.aws["lambda"].invoke(FunctionName=name, InvocationType="Event", Payload=b'{"action": "jump"}')
    body: dict[str, Any] = {}
    for _ in range(6):
        got = local.aws["sqs"].receive_message(QueueUrl=url, WaitTimeSeconds=10).get("Messages", [])
        if got:
            body = json.loads(got[0]["Body"])
            local.aws["sqs"].delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
            break
    assert body["requestContext"]["functionArn"].split(":")[6] == name
    assert body["requestContext"]["condition"] == "RetriesExhausted"


def test_a_refused_request_is_an_error_of_the_function_and_of_its_metric(local: LocalAccount) -> None:
    with pytest.raises(InvocationFailed, match="jump"):
        local.invoke("Override", {"action": "jump"})
    key = ("AWS/Lambda", "Errors", (("FunctionName", "tidegate-local-override"),))
    minute = int(local.account.now.timestamp()) // 60
    datum = local.account.cloudwatch.store.read(key, minute, 1)
    assert datum is not None
    assert datum.total == 1
