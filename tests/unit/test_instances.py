"""The instance catalogue: what is committed is what the sources say, and the fact sheet agrees."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.catalogue import derived, written
from cli.main import app
from core.instances import gpus_of, vcpus_of

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = (ROOT / "src/core/instance_types.json").read_text(encoding="utf-8")
UNKNOWN = [
    *("ml.dl1.24xlarge", "ml.p2.16xlarge", "ml.p2.8xlarge", "ml.p2.xlarge", "ml.p3.16xlarge", "ml.p3.2xlarge"),
    *("ml.p3.8xlarge", "ml.p6e-gb200.36xlarge"),
]
"""Types that SageMaker takes and the source no longer, or not yet, has."""


def test_the_committed_catalogue_is_what_the_sources_say() -> None:
    catalogue, unknown = derived(json.loads(COMMITTED)["as_of"])
    assert written(catalogue) == COMMITTED, "botocore or moto changed: run `tidegate catalogue refresh`"
    assert unknown == UNKNOWN


def test_the_fact_sheet_agrees() -> None:
    facts = (ROOT / "docs/facts.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (ml\.[\w.-]+) \| (\d+) \| (\d+)\b", facts.replace(" | ml.", " | | ml."))
    assert len(rows) == 20
    for instance_type, vcpus, gpus in rows:
        assert (vcpus_of(instance_type), gpus_of(instance_type)) == (int(vcpus), int(gpus)), instance_type


@pytest.mark.parametrize(
    ("instance_type", "vcpus", "gpus"),
    [
        ("ml.c5.9xlarge", 36, 0),
        ("ml.t2.medium", 2, 0),
        ("ml.g5.48xlarge", 192, 8),
        ("ml.p6-b200.48xlarge", 192, 8),
        ("ml.p3.2xlarge", None, None),
        ("ml.x9.large", None, None),
        ("", None, None),
    ],
)
def test_what_an_instance_type_has(instance_type: str, vcpus: int | None, gpus: int | None) -> None:
    assert (vcpus_of(instance_type), gpus_of(instance_type)) == (vcpus, gpus)


def test_refresh_writes_the_file_and_lists_what_it_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "types.json"
    result = CliRunner().invoke(app, ["catalogue", "refresh", "--file", str(file)])
    assert result.exit_code == 0
    assert json.loads(file.read_text(encoding="utf-8"))["types"] == json.loads(COMMITTED)["types"]
    assert [line.split()[-1] for line in result.stdout.splitlines() if line.startswith("unknown: ")] == UNKNOWN


def test_help_has_an_example() -> None:
    assert "tidegate catalogue refresh" in CliRunner().invoke(app, ["catalogue", "refresh", "--help"]).stdout
