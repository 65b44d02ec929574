"""`tidegate apply`: plan, question, delivery, first pass, and what comes next."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.model import Mode
from tests.desk import Desk, by_hand, desk, document

OPEN: Mapping[str, Any] = {"name": "orders"}


@pytest.fixture
def active() -> Iterator[Desk]:
    with desk() as made:
        yield made


def apply(at: Desk, folder: Path, content: Mapping[str, Any], *more: str, answer: str | None = None) -> Any:
    file = folder / "fleet.yaml"
    file.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return at.run("apply", "--file", str(file), *more, answer=answer)


def test_delivers_and_says_what_the_first_pass_did_and_what_comes_next(active: Desk, tmp_path: Path) -> None:
    result = apply(active, tmp_path, document(OPEN), "--yes")
    assert result.exit_code == 0, result.stderr
    assert active.account.snapshot("orders")["bounds"] == (2, 8)
    assert active.invoked == [("FleetSync", {"trigger": "policy"})]
    assert "Plan: 1 to enrol." in result.stdout
    row = next(line for line in result.stdout.splitlines() if " changed " in line)
    assert row.split()[:5] == ["endpoint/orders/variant/AllTraffic", "2..8", "2", "PolicyMinimum", "changed"]
    assert "active (written to AWS): p" in result.stdout
    assert [line for line in result.stderr.splitlines() if not line.endswith(" ...")] == [
        "Version 1 of the policy: deployment 3 started.",
        "DEPLOYING (100%)",
        "BAKING (100%)",
        "Version 1 is in force, and its first pass is over.",
        "COMPLETE (100%)",
    ]


def test_in_shadow_nothing_is_written_and_the_report_is_next(active: Desk, tmp_path: Path) -> None:
    before = by_hand(active.account, "orders")
    result = apply(active, tmp_path, document({**OPEN, "adopt": True}, mode="shadow"), "--yes", "--no-wait")
    assert result.exit_code == 0, result.stderr
    assert active.account.snapshot("orders") == before
    assert "shadow (decided and recorded, nothing is written): p" in result.stdout
    assert "`tidegate shadow-report --stack tidegate`" in result.stdout
    assert "COMPLETE (100%)" not in result.stderr


@pytest.mark.parametrize(("answer", "versions", "status"), [("y\n", 1, 0), ("n\n", 0, 1), ("", 0, 1)])
def test_asks_first(active: Desk, tmp_path: Path, answer: str, versions: int, status: int) -> None:
    result = apply(active, tmp_path, document(OPEN), answer=answer)
    assert (len(active.versions), result.exit_code) == (versions, status)


def test_the_document_in_force_is_not_delivered_again(active: Desk, tmp_path: Path) -> None:
    apply(active, tmp_path, document(OPEN), "--yes")
    again = apply(active, tmp_path, document(OPEN))
    assert (again.exit_code, len(active.versions)) == (0, 1)
    assert "This document is in force already: nothing to deliver." in again.stderr


def test_what_cannot_be_planned_is_not_delivered(active: Desk, tmp_path: Path) -> None:
    result = apply(active, tmp_path, document({"name": "order"}), "--yes")
    assert (result.exit_code, active.versions) == (2, [])
    assert "nothing was delivered" in result.stderr


def test_a_function_that_still_reads_the_version_before_is_asked_again(active: Desk, tmp_path: Path) -> None:
    stale = active.in_force.content
    answers = iter([stale, stale, None])
    kept = active.in_force.keep

    def keep() -> None:
        old = next(answers)
        kept() if old is None else active.in_force.table.put_policy_copy(old)

    active.in_force.keep = keep  # type: ignore[method-assign]  # a function that has not looked again
    result = apply(active, tmp_path, document(OPEN), "--yes")
    assert result.exit_code == 0, result.stderr
    assert len(active.invoked) == 3
    assert result.stderr.count("The functions still read the version before") == 2


def test_a_failing_first_pass_says_so(active: Desk, tmp_path: Path) -> None:
    active.account.fail_next("application-autoscaling", "RegisterScalableTarget", "AccessDeniedException", "no")
    result = apply(active, tmp_path, document(OPEN), "--yes")
    assert result.exit_code == 1
    assert "error: FleetSync: 1 of 1 targets failed" in result.stderr
    assert "AppConfig rolls the document back" in result.stderr


def test_the_way_out_of_shadow_names_this_stack(active: Desk, tmp_path: Path) -> None:
    active.mode = Mode.SHADOW
    result = apply(active, tmp_path, document(OPEN), "--yes")
    said = 'The whole stack is in shadow: `sam deploy --stack-name tidegate --parameter-overrides "Stage=prod Mode=active"`'
    assert said in result.stdout


def test_json_says_what_cannot_be_planned(active: Desk, tmp_path: Path) -> None:
    result = apply(active, tmp_path, document({"name": "orderz"}), "--yes", "--json")
    assert (result.exit_code, active.versions) == (2, [])
    assert [each["what"] for each in json.loads(result.stdout)["plan"]["targets"]] == ["error"]


def test_json_is_the_plan_and_what_was_done(active: Desk, tmp_path: Path) -> None:
    answer = json.loads(apply(active, tmp_path, document(OPEN), "--yes", "--json").stdout)
    assert (answer["plan"]["writes"], answer["version"]) == (True, 1)
    assert [each["status"] for each in answer["targets"]] == ["changed"]


def test_what_somebody_else_delivers_while_it_asks_is_not_undone(
    active: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confirm(*_: object, **__: object) -> bool:
        active.in_force.content = json.dumps(document({"name": "chat"})).encode()
        return True

    monkeypatch.setattr("typer.confirm", confirm)
    result = apply(active, tmp_path, document(OPEN))
    assert (result.exit_code, active.versions) == (2, [])
    assert "somebody else's document came into force meanwhile" in result.stderr
