"""docs/choosing-a-policy.md: every snippet works as it stands, and nothing of it is advised against."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cli.advice import advice
from core.native import native_policies
from core.policy import parse_fleet
from tests.builders import REALTIME, enrolment

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "choosing-a-policy.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
SNIPPETS = [
    profile for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) for profile in yaml.safe_load(text)["profiles"].items()
]  # fmt: skip


@pytest.mark.parametrize(("name", "written"), SNIPPETS, ids=[name for name, _ in SNIPPETS])
def test_a_snippet_becomes_native_policies(name: str, written: object) -> None:
    profile = parse_fleet({"version": 1, "profiles": {name: written}}).profiles[name]
    assert not list(advice(profile))
    assert native_policies(replace(enrolment(REALTIME), profile=profile, gpus=1), "prod")


def test_each_section_has_a_snippet() -> None:
    without = [section for section in PAGE.split("\n## ")[1:] if "```yaml" not in section]
    assert not without
    assert len(SECTIONS) == 9
    assert len({name for name, _ in SNIPPETS}) == len(SNIPPETS) == 12
