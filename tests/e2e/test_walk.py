"""The whole way of somebody who has endpoints with hand-made policies: from survey to release, command by command."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.main import app
from cli.rollout import RELOAD_SECONDS
from core.aws import clock
from local_account.account import LocalAccount
from local_account.sam import STACK
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload
from tests.desk import by_hand
from tests.e2e.conftest import START, embedded, minutes, schedules_off

HOURS = 12
"""Of history that the account has when somebody first looks."""

SHOP, SEARCH = "shop-prod", "search-prod"


@dataclass
class Person:
    """The command line in the embedded account, at its time."""

    local: LocalAccount
    made: dict[str, Any] = field(default_factory=dict)

    def of(self, service: str) -> Any:
        if service not in self.made:
            self.made[service] = self.local.client(service)
        return self.made[service]

    def sleep(self, seconds: float) -> None:
        """Let functions begin anew, for they read AppConfig every 45 s of real time; a longer sleep lets a minute pass."""
        if seconds <= RELOAD_SECONDS:
            self.local.restart_functions()
        else:
            minutes(self.local, 1)

    def says(self, *words: str, stack: bool = True, status: int = 0) -> str:
        """Run a command that ends with this status, and return what it prints."""
        result = CliRunner().invoke(
            app, [*words, *(["--stack", STACK] if stack else [])], obj=self, env={"COLUMNS": "300"}
        )
        assert result.exit_code == status, f"{words}: {result.stdout}{result.stderr}{result.exception!r}"
        return result.stdout

    def tells(self, *words: str, stack: bool = True) -> dict[str, Any]:
        """Run a command with --json."""
        answer: dict[str, Any] = json.loads(self.says(*words, "--json", stack=stack))
        return answer


@pytest.fixture
def person(artefact: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Somebody in an account of their own, with two endpoints that were scaled by hand, and a day of them."""
    account = SimulatedAccount(START - timedelta(minutes=10))
    load = [600 + 10 * (minute % 90) for minute in range(60 * HOURS + 600)]
    for name in (SHOP, SEARCH):
        workload = RealtimeWorkload(per_minute_requests=list(load), capacity_per_instance=600)
        account.add_endpoint(name=name, workload=workload, instance_type="ml.c5.xlarge", instance_count=3)
        account.backfill(name, workload, 60 * HOURS)
    by_hand(account, SHOP)
    by_hand(account, SEARCH, bounds=(2, 5))
    for _ in range(10):
        account.advance()
    with embedded(account, artefact=artefact) as local, schedules_off(local, "RealtimeTarget"):
        monkeypatch.setattr(clock, "now", lambda: account.now)
        somebody = Person(local)
        yield somebody
        for client in somebody.made.values():
            client.close()


def standing(person: Person) -> dict[str, Any]:
    """What scales both endpoints, byte by byte, with what their own alarms call."""
    cloudwatch = person.of("cloudwatch")
    return {
        name: (
            person.local.account.snapshot(name),
            cloudwatch.describe_alarms(AlarmNames=[f"{name}-cpu-high"])["MetricAlarms"][0]["AlarmActions"],
        )
        for name in (SHOP, SEARCH)
    }


def at_rest(person: Person) -> None:
    """Let minutes pass until no change of the first endpoint is under way, and one more for the pass that sees it."""
    while person.local.account.endpoint(SHOP).status != "InService":
        minutes(person.local, 1)
    minutes(person.local, 1)


def test_from_survey_to_release(person: Person, tmp_path: Path) -> None:
    local, file = person.local, tmp_path / "fleet.yaml"
    before = standing(person)

    # Look: what is there, and what it would have saved.
    found = person.tells("survey", stack=False)
    assert {each["name"] for each in found["endpoints"]} == {SHOP, SEARCH}
    backtest = person.tells("backtest", "--endpoint", SHOP, "--capacity", "600", stack=False)
    assert any("tidegate" in str(each.get("policy", "")) for each in backtest["results"])

    # Write it down as it is: nothing would change.
    person.says("import", "--output", str(file), stack=False)
    plan = person.tells("plan", "--file", str(file))
    assert (plan["writes"], {each["what"] for each in plan["targets"]}) == (False, {"watch"})
    assert "No change: bounds, policies, scheduled actions and alarms" in person.says("plan", "--file", str(file))

    # Watch it in shadow.
    applied = person.tells("apply", "--file", str(file), "--yes")
    assert {each["status"] for each in applied["targets"]} == {"shadow"}
    assert standing(person) == before
    assert person.tells("plan", "--file", str(file))["changes"] is False
    minutes(local, 15)
    assert standing(person) == before
    report = person.tells("shadow-report")
    assert [each["minutes"] for each in report["targets"]] == [12, 12]
    assert all("Too short to judge" in each["verdict"] for each in report["targets"])

    # Switch one to active: profiles are switched one by one.
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    entry = next(each for each in document["endpoints"] if each["name"] == SHOP)
    document["profiles"]["shop-active"] = {**document["profiles"][entry["profile"]], "mode": "active"}
    entry["profile"] = "shop-active"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    plan = person.tells("plan", "--file", str(file))
    assert {each["target"].split("/")[1]: each["what"] for each in plan["targets"]} == {
        SHOP: "change",
        SEARCH: "no change",
    }
    person.says("apply", "--file", str(file), "--yes")
    now = standing(person)
    assert now[SEARCH] == before[SEARCH]
    assert all(name.startswith("tidegate-local-") for name in now[SHOP][0]["policies"])
    assert now[SHOP][1] == []  # AWS took from the alarm what it called

    # See it, and have a say.
    minutes(local, 3)
    assert {each["mode"] for each in person.tells("status")["targets"]} == {"active", "shadow"}
    assert person.tells("explain", SHOP)["outcome"] in {"changed", "unchanged"}
    person.says("override", "floor", SHOP, "5", "--for", "30m", "--reason", "campaign mail", "--requested-by", "walk")
    at_rest(person)
    assert local.account.snapshot(SHOP)["bounds"][0] == 5
    assert person.tells("explain", SHOP)["reason"] == "OverrideFloor"

    # A deployment in between.
    person.says("override", "resume", SHOP, "--reason", "mail is out", "--requested-by", "walk")
    at_rest(person)
    assert "is at rest and held until" in person.says("deploy-guard", "begin", SHOP, "--for", "30m")
    assert f"endpoint/{SHOP}/" in person.says("deploy-guard", "end", SHOP)

    # And give it back.
    assert "put scheduled action shop-prod-night" in person.says("release", SHOP, "--dry-run")
    released = person.tells("release", "--all", "--yes")
    assert [each["differences"] for each in released["targets"]] == [[], []]
    assert standing(person) == before
    assert local.failures == []
