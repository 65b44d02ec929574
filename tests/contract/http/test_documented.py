"""docs/simulator.md says what the tests hold, and all of it."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore import xform_name

from local_account.plant.measure import measure
from local_account.plant.server import SERVICES
from simulator.account import SimulatedAccount
from simulator.sagemaker import Tagging
from simulator.service import Service, service_model
from tests.contract.simulator.test_against_moto import DIFFERENT

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/simulator.md").read_text(encoding="utf-8")


def rows(title: str) -> list[list[str]]:
    """The cells of the table below a heading, without its two head lines."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_difference_from_moto_is_told_as_it_is_tested() -> None:
    told = [(case, ours, theirs) for case, ours, theirs, _ in rows("Where it differs from moto")]
    assert told == [(case, f"`{ours!r}`", f"`{theirs!r}`") for case, _, ours, theirs in DIFFERENT]


def test_the_operations_listed_are_those_that_are_answered() -> None:
    account = SimulatedAccount(datetime(2025, 4, 2, 6, 0, tzinfo=UTC))
    plant = [account.autoscaling, account.sagemaker, account.cloudwatch, Tagging(account.sagemaker)]
    services: list[Service] = [*plant, account.scheduler]
    answered = {
        service.name: [
            name for name in service_model(service.name).operation_names if hasattr(service, xform_name(name))
        ]
        for service in services
    }
    assert {name: operations.split(", ") for name, operations in rows("What it answers")} == answered
    assert {service.name for service in plant} == set(SERVICES), "over HTTP"


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/\S+\.py::\w+)`", PAGE))))
def test_every_test_named_exists(test: str) -> None:
    path, name = test.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_measurement_shown_is_the_one_that_is_made() -> None:
    shown = re.findall(r"^ +[\d.]+ ms  (.+)$", PAGE, re.MULTILINE)
    assert [*measure(1)] == shown
