"""`tidegate plan`: what a document would change, told by core's own dry run, in an account that stays as it is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stack import ReadOnly
from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.scheduler import Scheduler
from core.errors import ActuationError
from core.model import Mode, ScalableTarget
from core.ports import NativePolicy
from simulator.in_memory import InMemoryStore
from simulator.stack import FALLBACK_ROLE
from tests.desk import NAMED, Desk, by_hand, desk, document

OPEN: Mapping[str, Any] = {"name": "orders"}
ADOPTED: Mapping[str, Any] = {"name": "orders", "adopt": True}


@pytest.fixture
def active() -> Iterator[Desk]:
    with desk() as made:
        yield made


def written(folder: Path, content: Mapping[str, Any]) -> str:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return str(file)


def plan(at: Desk, folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The plan as JSON, and nothing written on the way."""
    before = {name: at.account.snapshot(name) for name in ("orders", "chat", "search")}
    kept = at.dynamodb.scan(TableName="tidegate")["Items"]
    result = at.run("plan", "--file", written(folder, content), "--json")
    assert [line for line in result.stderr.splitlines() if not line.endswith(" ...")] == []  # how far it is
    assert {name: at.account.snapshot(name) for name in before} == before
    assert at.dynamodb.scan(TableName="tidegate")["Items"] == kept
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def deliver(at: Desk, content: Mapping[str, Any]) -> None:
    at.in_force.content = json.dumps(content).encode()
    at.stack.invoke("FleetSync", {"trigger": "policy"})


def of(answer: dict[str, Any], endpoint: str = "orders") -> dict[str, Any]:
    (found,) = (each for each in answer["targets"] if each["target"].startswith(f"endpoint/{endpoint}/"))
    return dict(found)


def test_an_enrolment_says_what_it_would_write_and_that_it_was_never_in_shadow(active: Desk, tmp_path: Path) -> None:
    found = of(answer := plan(active, tmp_path, document(OPEN)))
    assert (found["what"], found["bounds"], found["wanted"], found["mode"]) == ("enrol", None, "2..8", "active")
    assert [action.partition(" (")[0] for action in found["actions"]] == [
        "save what stands now, for release",
        "put alarm tidegate-target-prod-realtime-orders-AllTraffic-errors",
        "set bounds to 2..8",
        "put policy tidegate-prod-track-requests_per_instance",
        "put policy tidegate-prod-saturation",
    ]
    assert answer["document"] == ["profile p: new", "endpoint/orders/variant/AllTraffic: new"]
    shown = active.run("plan", "--file", written(tmp_path, document(OPEN))).stdout
    assert "Plan: 1 to enrol." in shown
    assert "Not seen in shadow yet: endpoint/orders/variant/AllTraffic." in shown


def test_after_the_table_was_lost_a_target_that_is_raised_is_taken_for_what_it_falls_back_to(
    active: Desk, tmp_path: Path
) -> None:
    deliver(active, document(OPEN))
    orders, name = ScalableTarget.variant("orders", "AllTraffic"), "tidegate-prod-track-requests_per_instance"
    autoscaling = ApplicationAutoScaling(active.account.client("application-autoscaling"))
    (rest,) = (policy for policy in autoscaling.policies(orders) if policy.name == name)

    def tracking(share: float) -> NativePolicy:
        return replace(rest, configuration={**rest.configuration, "TargetValue": share * rest.target})

    autoscaling.put_policy(orders, tracking(0.9))  # a forecast raised half of what it could be to that
    due = active.account.now + timedelta(minutes=30)
    Scheduler(lambda: active.account.client("scheduler"), "prod", FALLBACK_ROLE).put(orders, tracking(0.5), due)
    for item in active.dynamodb.scan(TableName="tidegate")["Items"]:
        active.dynamodb.delete_item(TableName="tidegate", Key={key: item[key] for key in ("pk", "sk")})
    found = of(plan(active, tmp_path, document(OPEN)))
    assert f"put policy {name}: TargetValue 270.0 -> 150.0" in found["anyway"]


def test_in_shadow_nothing_changes_and_it_says_what_active_would_write(active: Desk, tmp_path: Path) -> None:
    by_hand(active.account, "orders")
    found = of(answer := plan(active, tmp_path, document(ADOPTED, mode="shadow")))
    assert (found["what"], found["actions"], answer["writes"]) == ("watch", [], False)
    assert {"delete policy orders-invocations", "delete policy orders-cpu-out"} <= set(found["once_active"])
    shown = active.run("plan", "--file", written(tmp_path, document(ADOPTED, mode="shadow"))).stdout
    assert "No change: bounds, policies, scheduled actions and alarms of every endpoint stay as they are." in shown
    assert "Plan: 1 to watch in shadow." in shown


def test_what_somebody_suspended_is_said_where_it_is_planned(active: Desk, tmp_path: Path) -> None:
    scaling = active.account.client("application-autoscaling")
    name: Any = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/orders/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    suspended: Any = {"DynamicScalingOutSuspended": True}
    scaling.register_scalable_target(**name, MinCapacity=1, MaxCapacity=4, SuspendedState=suspended)
    why = of(plan(active, tmp_path, document(OPEN)))["why"]
    assert "DynamicScalingOut is suspended: bounds are set, and AAS does not act until somebody resumes it" in why


def test_a_stack_in_shadow_is_as_cautious_as_a_profile(tmp_path: Path) -> None:
    with desk(Mode.SHADOW) as at:
        assert of(plan(at, tmp_path, document(OPEN)))["what"] == "watch"


def test_what_is_in_force_already_is_no_change_and_check_says_so(active: Desk, tmp_path: Path) -> None:
    deliver(active, document(OPEN))
    answer = plan(active, tmp_path, document(OPEN))
    assert (answer["changes"], of(answer)["what"]) == (False, "no change")
    same, other = document(OPEN), document(OPEN, max_capacity=9)
    assert active.run("plan", "--file", written(tmp_path, same), "--check").exit_code == 0
    assert active.run("plan", "--file", written(tmp_path, other), "--check").exit_code == 1
    assert active.run("plan", "--file", written(tmp_path, other)).exit_code == 0


def test_a_change_names_the_fields_of_document_bounds_and_policy(active: Desk, tmp_path: Path) -> None:
    deliver(active, document(OPEN))
    changed = document(OPEN, max_capacity=9, objectives={"requests_per_instance": 500})
    found = of(answer := plan(active, tmp_path, changed))
    assert answer["document"] == ["profile p: max_capacity 8 -> 9, objectives"]
    assert (found["what"], found["bounds"], found["wanted"]) == ("change", "2..8", "2..9")
    assert "put policy tidegate-prod-track-requests_per_instance: TargetValue 300.0 -> 250.0" in found["actions"]


def test_what_the_next_pass_does_anyway_is_not_the_documents_doing(active: Desk, tmp_path: Path) -> None:
    deliver(active, document(OPEN))
    for _ in range(3):
        active.account.advance()
    somebody: Any = {**NAMED, "ResourceId": "endpoint/orders/variant/AllTraffic", "MinCapacity": 1, "MaxCapacity": 8}
    active.account.client("application-autoscaling").register_scalable_target(**somebody)
    found = of(answer := plan(active, tmp_path, document(OPEN)))
    assert (answer["changes"], found["what"], found["actions"]) == (False, "no change", [])
    assert found["anyway"] == ["set bounds to 2..8 (differs)"]


def test_a_target_that_leaves_is_given_back(active: Desk, tmp_path: Path) -> None:
    by_hand(active.account, "orders")
    deliver(active, document(ADOPTED))
    found = of(plan(active, tmp_path, document()))
    assert (found["what"], found["why"]) == ("release", "the document no longer names it")
    assert found["actions"][-4:] == [
        "set bounds to 1..6 (release)",
        "put policy orders-cpu-out",
        "put policy orders-invocations",
        "put scheduled action orders-night",
    ]


def test_from_shadow_to_active_everything_is_the_documents_doing(active: Desk, tmp_path: Path) -> None:
    deliver(active, document(OPEN, mode="shadow"))
    found = of(answer := plan(active, tmp_path, document(OPEN)))
    assert (found["what"], answer["document"]) == ("change", ["profile p: mode shadow -> active"])
    assert "set bounds to 2..8 (differs)" in found["actions"]


def test_others_policies_and_wrong_tags_are_left_alone_and_it_says_why(active: Desk, tmp_path: Path) -> None:
    by_hand(active.account, "orders")
    active.account.endpoint("chat").tags["tidegate:profile"] = "nobody"
    answer = plan(active, tmp_path, document(OPEN))
    assert (of(answer)["what"], of(answer, "chat")["what"]) == ("left alone", "left alone")
    assert "others made orders-cpu-out, orders-invocations, orders-night; `adopt: true`" in of(answer)["why"]
    assert "the tag tidegate:profile must name a profile (p)" in of(answer, "chat")["why"]


def test_what_fleetsync_would_fail_on_fails_the_plan(active: Desk, tmp_path: Path) -> None:
    result = active.run("plan", "--file", written(tmp_path, document({"name": "order"})))
    assert result.exit_code == 1
    assert "no such endpoint in SageMaker" in result.stdout


def test_a_broken_file_is_refused_with_its_line(active: Desk, tmp_path: Path) -> None:
    result = active.run("plan", "--file", written(tmp_path, document(OPEN, min_capacity=9)))
    assert result.exit_code == 2
    assert "fleet.yaml:" in result.stderr


def test_a_plan_cannot_write() -> None:
    store = InMemoryStore()
    with pytest.raises(ActuationError, match="put_roster: a plan writes nothing"):
        ReadOnly(store).put_roster({})
    assert store.roster() is None
