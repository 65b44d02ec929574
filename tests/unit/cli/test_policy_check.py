"""`tidegate policy check` and `schema`: what a person sees who writes a policy file."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner, Result

from cli.main import app
from cli.policy_file import fleet_schema
from core import overrides, policy, policy_scaling, policy_windows
from core.fields import Strict
from core.overrides import OverrideRequest
from core.policy import Endpoint, Fleet, Objectives, Profile, Queue
from core.policy_scaling import CloudWatchMetric, MathMetric, MetricMath, StepRange, StepScaling, TargetTracking
from core.policy_windows import Window as BatchWindow

ROOT = Path(__file__).resolve().parents[3]

BROKEN = """\
version: 1
profiles:
  chat:
    kind: realtime
    min_capacity: 4
    max_capacity: 2
    policies:
      - {type: target_tracking, metric: cpu, target: 170}
  night:
    kind: batch
    min_capacity: 1
    windows:
      - {name: w, start: 1040, duration: 4h, min_capacity: 2}
    stabilisation: 5m
endpoints:
  - {name: orders, profile: chatt}
"""


def tidegate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["policy", *arguments])


def written(folder: Path, text: str) -> str:
    file = folder / "fleet.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_the_example_holds_and_is_summarised() -> None:
    result = tidegate("check", str(ROOT / "fleet.yaml"))
    assert result.exit_code == 0
    assert result.stderr == ""
    for said in (
        "chat-realtime",
        "requests_per_instance at 200 (default)",
        "00:40 UTC, 4h, at least 5",
        "documents-prod",
    ):
        assert said in result.stdout
    assert "Fine: 4 profiles, 4 endpoints." in result.stdout


def test_the_tutorials_policies_are_accepted_with_advice() -> None:
    result = tidegate("check", str(ROOT / "examples/from-cdk/tutorial.yaml"))
    assert result.exit_code == 0
    first, *_ = result.stderr.splitlines()  # tracking and steps on one metric
    assert "profiles.tutorial.policies[3].metric = cpu: target tracking follows it already" in first
    assert result.stderr.count("warning:") == 2  # that, and what to paste instead
    assert "cpu steps -1, +0, +1, +2" in result.stdout


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    file = written(tmp_path, BROKEN)
    result = tidegate("check", file)
    assert result.exit_code == 2
    assert result.stdout.splitlines() == [
        f"{file}:6  profiles.chat.max_capacity = 2: must be at least min_capacity (4)",
        f"{file}:8  profiles.chat.policies[0].target = 170: must be above 0 and at most 100 (percent per core)",
        f"{file}:9  profiles.night.max_capacity: is required",
        f"{file}:13  profiles.night.windows[0].start = 1040: must be a string",
        f"{file}:14  profiles.night.stabilisation = '5m': no such field; is it misspelt?",
        f"{file}:16  endpoints[0].profile = 'chatt': must name a profile of this file (chat, night)",
    ]
    assert result.stderr == "6 problems; docs/policy.md says what each field may be.\n"


UNUSABLE = [
    ("not YAML", "version: 1\nprofiles: [\n", ":3  is not YAML: expected the node content, but found '<stream end>'"),
    (
        "a tab",
        "version: 1\nprofiles:\n\tchat: {}\n",
        ":3  is not YAML: found character '\\t' that cannot start any token",
    ),
    ("a control character", "version: 1\nname: \x01\n", "  is not YAML: unacceptable character"),
    ("a date of no calendar", "version: 2026-99-99\n", "  is not YAML: month must be in 1..12"),
    (
        "a tag that would run code",
        "version: !!python/object/apply:os.getcwd []\n",
        ":1  is not YAML: could not determine",
    ),
    ("empty", "", "  document: must be a mapping of fields"),
    ("a list", "- 1\n", ":1  document = [1]: must be a mapping of fields"),
    ("a key twice", "version: 1\nprofiles: {}\nversion: 1\n", ":3  version: said twice, first in line 1"),
    (
        "a name that is a number",
        "version: 1\nprofiles: {7: {}}\n",
        ":2  profiles[7] = 7: must be a string",
    ),
    (
        "a name that is a number among others",
        "version: 1\nprofiles: {7: {}, chat: {}}\nendpoints: [{name: a, profile: chta}]\n",
        ":3  endpoints[0].profile = 'chta': must name a profile of this file (7, chat)",
    ),
    (
        "digits that Python reads as none of a clock",
        "version: 1\nprofiles: {p: {windows: [{start: '0\u0665:00'}]}}\n",
        ":2  profiles.p.windows[0].start = '0\u0665:00': must be a time of day such as 07:30",
    ),
    ("lists within lists", f"version: {'[' * 2000}", "  is not YAML: maximum recursion depth exceeded"),
    ("an alias to itself", "version: 1\nprofiles: &a {a: *a}\n", ":2  profiles.a."),
]


@pytest.mark.parametrize(("text", "said"), [c[1:] for c in UNUSABLE], ids=[c[0] for c in UNUSABLE])
def test_what_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    result = tidegate("check", file)
    assert result.exit_code == 2
    assert f"{file}{said}" in result.stdout


def test_numbers_and_truths_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = """\
version: 1
profiles:
  night:
    kind: batch
    min_capacity: no
    max_capacity: 010
    objectives: {requests_per_instance: yes}
    windows: [{name: w, start: 10:40, duration: 4h, min_capacity: 0x2}]
"""
    file = written(tmp_path, text)
    assert tidegate("check", file).stdout.splitlines() == [  # YAML 1.1 has 0, 8, 1, the 640th minute and 2
        f"{file}:5  profiles.night.min_capacity = 'no': must be a whole number",
        f"{file}:7  profiles.night.objectives.requests_per_instance = 'yes': must be a number",
        f"{file}:8  profiles.night.windows[0].min_capacity = '0x2': must be a whole number",
    ]


def test_json_may_be_indented_by_tabs(tmp_path: Path) -> None:
    fleet = {"version": 1, "profiles": {"p": {"kind": "realtime", "min_capacity": 1, "max_capacity": 4}}}
    assert tidegate("check", written(tmp_path, json.dumps(fleet, indent="\t"))).exit_code == 0
    fleet["profiles"]["p"]["max_capacity"] = 0  # type: ignore[index]  # JSON
    result = tidegate("check", written(tmp_path, json.dumps(fleet, indent="\t")))
    assert (result.exit_code, ":7  profiles.p.max_capacity = 0" in result.stdout) == (2, True)


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    """As Windows and PowerShell write UTF-8."""
    profile = {"kind": "realtime", "min_capacity": 1, "max_capacity": 4}
    text = json.dumps({"version": 1, "profiles": {"p": profile}}, indent="\t")
    assert tidegate("check", written(tmp_path, "\ufeff" + text)).exit_code == 0


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = tidegate("check", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml  cannot be read: No such file or directory; check the path" in result.stdout


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_bytes(b"\xff\xfe\x00v")
    result = tidegate("check", str(tmp_path / "fleet.yaml"))
    assert result.exit_code == 2
    assert "is not text in UTF-8" in result.stdout


def test_refusals_as_json(tmp_path: Path) -> None:
    result = tidegate("check", written(tmp_path, BROKEN), "--json")
    assert result.exit_code == 2
    said = json.loads(result.stdout)
    assert said["ok"] is False
    assert said["problems"][0] == {
        "line": 6,
        "path": "profiles.chat.max_capacity",
        "message": "= 2: must be at least min_capacity (4)",
    }


def test_the_summary_as_json() -> None:
    said = json.loads(tidegate("check", str(ROOT / "fleet.yaml"), "--json").stdout)
    assert said["ok"] is True
    assert said["profiles"]["nightly-batch"]["windows"][0]["duration"] == "4h"
    assert said["profiles"]["chat-realtime"]["policies_by_default"] is True
    assert said["profiles"]["chat-realtime"]["policies"][0]["target"] == 200
    assert [endpoint["name"] for endpoint in said["endpoints"]] == [
        "chat-prod",
        "documents-prod",
        "scoring-nightly",
        "assistant-llm",
    ]


def test_what_has_no_effect_is_pointed_at_and_not_refused(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "version: 1\nmax_capacity: 5\nprofiles:\n  p:\n    kind: async\n    min_capacity: 1\n    max_capacity: 9\n"
        "    objectives: {items_per_minute: 4}\n    idle_after: 5m\n",
    )
    result = tidegate("check", file)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"warning: {file}:7  profiles.p.max_capacity = 9: the fleet's max_capacity (5) wins",
        f"warning: {file}:9  profiles.p.idle_after: no effect, for min_capacity is 1 and not 0",
    ]


def test_a_merged_mapping_is_one_mapping(tmp_path: Path) -> None:
    """What `<<` brings has no line of its own here; its problems point at the mapping that takes it in."""
    file = written(
        tmp_path,
        "version: 1\nprofiles:\n  a: &base {kind: realtime, min_capacity: 4, max_capacity: 8}\n"
        "  b:\n    <<: *base\n    max_capacity: 2\n",
    )
    result = tidegate("check", file)
    assert result.stdout == f"{file}:6  profiles.b.max_capacity = 2: must be at least min_capacity (4)\n"


# --- schema and documents --------------------------------------------------------------------------------------------


def test_the_committed_schema_is_what_the_types_say() -> None:
    assert (ROOT / "docs" / "fleet.schema.json").read_text(encoding="utf-8") == tidegate("schema").stdout, (
        "core.policy changed: run `make schema`"
    )


def test_the_schema_is_valid_and_describes_the_fields() -> None:
    schema = fleet_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "$id" not in schema
    assert schema["$defs"]["Window"]["properties"]["lead"]["description"].startswith("How long before the start")
    assert schema["$defs"]["Profile"]["properties"]["scale_in"]["default"] == "direct"


def test_the_example_validates_in_editors_too() -> None:
    text = (ROOT / "fleet.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=docs/fleet.schema.json\n")
    jsonschema.Draft202012Validator(fleet_schema()).validate(yaml.safe_load(text))


MODELS: list[type[BaseModel]] = [
    Fleet, Profile, Objectives, Queue, TargetTracking, CloudWatchMetric, MetricMath, MathMetric, StepScaling, StepRange, BatchWindow, Endpoint, OverrideRequest,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=[model.__name__ for model in MODELS])
def test_each_field_is_documented(model: type[BaseModel]) -> None:
    """One table row a field, under the heading of its model."""
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    section = page.split(f"<!-- {model.__name__} -->", 1)[1].split("\n## ", 1)[0]
    rows = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
    assert rows == {field.alias or name for name, field in model.model_fields.items()}


def test_no_model_is_forgotten_above() -> None:
    modules = (overrides, policy, policy_scaling, policy_windows)
    models = {m for module in modules for m in vars(module).values() if isinstance(m, type) and issubclass(m, Strict)}
    assert {m for m in models if m is not Strict and not m.__name__.startswith("_")} == set(MODELS)


@pytest.mark.parametrize("command", ["check", "push", "schema"])
def test_help_has_an_example(command: str) -> None:
    result = tidegate(command, "--help")
    assert result.exit_code == 0
    assert f"\n    tidegate policy {command} " in result.stdout.split("Example", 1)[1]  # a line of its own
