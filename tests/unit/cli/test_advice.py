"""What `tidegate policy check` advises: allowed, and still not what anyone means."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.advice import advice
from cli.main import app
from core.policy import Profile

REALTIME: dict[str, Any] = {"kind": "realtime", "min_capacity": 1, "max_capacity": 8}
ASYNC: dict[str, Any] = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 8,
    "objectives": {"items_per_minute": 4},
}
IN: dict[str, Any] = {
    "type": "step",
    "metric": "cpu",
    "steps": [{"upper": 30, "change": -1}, {"lower": 30, "change": 0}],
}
OWN_CPU: dict[str, Any] = {"namespace": "/aws/sagemaker/Endpoints", "name": "CPUUtilization"}


def track(metric: str, **fields: Any) -> dict[str, Any]:
    return {"type": "target_tracking", "metric": metric, "target": 50, **fields}


OUT = {"disable_scale_in": True}
CASES: list[tuple[str, dict[str, Any], list[dict[str, Any]], list[tuple[str, str]]]] = [
    ("nothing to say", REALTIME, [track("cpu"), track("requests_per_instance")], []),
    ("no policies", REALTIME, [], []),
    ("a catalogue metric as one's own", REALTIME, [track("custom", custom=OWN_CPU)],
     [("policies.0.custom", ": this is the metric cpu (percent per core): write that")]),
    ("the same metric twice", REALTIME, [track("cpu"), track("custom", custom=OWN_CPU)],
     [("policies.1.custom", "which another policy follows already: remove one")]),
    ("requests counted twice", REALTIME, [track("requests_per_instance"), track("concurrent_requests")],
     [("policies.1.metric", "requests_per_instance follows the same requests")]),
    ("nothing scales in", REALTIME, [track("cpu", **OUT), track("disk", **OUT)],
     [("policies.0.disable_scale_in", "nothing ever scales in and the highest load is paid on")]),
    ("only we scale in", REALTIME, [track("requests_per_instance", **OUT)],
     [("policies.0.disable_scale_in", "only Tidegate scales in, and not while it is away")]),
    ("one scales in", REALTIME, [track("cpu", **OUT), track("disk")], []),
    ("steps scale in", REALTIME, [track("cpu", **OUT), IN], []),
    ("a cooldown beyond any start", REALTIME, [track("cpu", scale_out_cooldown="15m")],
     [("policies.0.scale_out_cooldown", "use 1m to 5m")]),
    ("10 minutes hold", REALTIME, [track("cpu", scale_out_cooldown="10m")], []),
    ("a cooldown below a minute", REALTIME, [track("cpu", scale_out_cooldown="30s")],
     [("policies.0.scale_out_cooldown", "AAS looks at this metric once a minute")]),
    ("unless it is looked at more often", REALTIME, [track("concurrent_requests", scale_out_cooldown="30s")], []),
    ("memory that stays", REALTIME, [track("cpu"), track("memory")],
     [("policies.1.metric", "set disable_scale_in: true here")]),
    ("memory that only scales out", REALTIME, [track("cpu"), track("memory", **OUT)], []),
    ("cpu from zero", ASYNC, [track("cpu")], [("policies", "there is no cpu to act on")]),
    ("cpu from one", ASYNC | {"min_capacity": 1}, [track("cpu")], []),
    ("cpu beside the queue", ASYNC, [track("cpu"), track("backlog_per_instance")], []),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "policies", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_advice(profile: dict[str, Any], policies: list[dict[str, Any]], said: list[tuple[str, str]]) -> None:
    remarks = list(advice(Profile.model_validate({**profile, "policies": policies})))
    assert [".".join(map(str, where)) for where, _ in remarks] == [where for where, _ in said]
    for (_, text), (_, part) in zip(remarks, said, strict=True):
        assert part in text


def test_a_remark_is_a_warning_with_its_line_and_no_refusal(tmp_path: Path) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "profiles": {"p": ASYNC | {"policies": [track("cpu")]}}}))
    result = CliRunner().invoke(app, ["policy", "check", str(file)])
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {file}:8  profiles.p.policies: without an instance there is no cpu")
