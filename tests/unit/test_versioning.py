"""docs/versioning.md lists what is public: a name that comes, goes or changes is a decision, made on that page."""

import json
import re

import pytest

from cli.findings import Code
from cli.policy_file import fleet_schema
from core.model import Reason, Told
from env.lint_template import ROOT
from handlers.wiring import PowertoolsTelemetry, counts

PAGE = (ROOT / "docs/versioning.md").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "template.yaml").read_text(encoding="utf-8")


def listed(title: str) -> list[str]:
    """The names of a section, behind the sentence that says where they stand."""
    section = re.split(r"^##+ ", PAGE.split(f"### {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"`([^`]+)`", section.rpartition(":\n")[2])


def of_template(section: str) -> list[str]:
    text = re.split(r"^(?=\w)", TEMPLATE.split(f"\n{section}:\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return sorted(re.findall(r"^  (\w+):", text, re.MULTILINE))


def test_reason_codes() -> None:
    assert listed("Reason codes") == sorted(Reason)


def test_codes_of_the_survey() -> None:
    assert listed("Codes of the survey") == sorted(Code)


def test_metrics(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Tidegate")
    PowertoolsTelemetry().tell("RealtimeTarget", ())
    (described,) = json.loads(capsys.readouterr().out)["_aws"]["CloudWatchMetrics"]
    assert listed("Metrics") == sorted(counts(()))
    assert [metric["Name"] for metric in described["Metrics"]] == ["Heartbeat", "TargetsSeen"], (
        "no trouble costs nothing"
    )
    assert described["Dimensions"] == [["function"]]


def test_events() -> None:
    assert listed("Events") == sorted(Told)


def test_the_version_of_the_policy_format() -> None:
    assert listed("Policy format") == ["version", str(fleet_schema()["properties"]["version"]["const"])]


@pytest.mark.parametrize("section", ["Parameters", "Outputs"])
def test_parameters_and_outputs_of_the_stack(section: str) -> None:
    assert listed(f"Stack {section.lower()}") == of_template(section)
