"""The README's demo was really produced, and its claim follows from it; `tests/docs` holds all other blocks."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def output_of(*module: str) -> str:
    done = subprocess.run([sys.executable, "-m", *module], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603 - our own modules
    return done.stdout


def test_the_demo_says_what_the_readme_shows(tmp_path: Path) -> None:
    said = output_of("cli.demo", "--in-process", "--report", str(tmp_path / "demo.html"))
    shown = [line.rstrip() for line in said.splitlines() if not line.startswith("Report:")]
    missing = [line for line in shown if line not in README]
    assert missing == []


def test_the_why_follows_from_the_demos_table() -> None:
    """Which is held to a real run above; a claim may be what its rounded figures allow."""
    claims = re.search(r"(\d+) % fewer requests without capacity for (\d+) % fewer instance-hours", README)
    total = re.search(r"│ all .*", README)
    assert claims
    assert total
    _, violated, violated_plain, hours, hours_plain = (
        float(n.replace(",", "")) for n in re.findall(r"[\d.,]+", total[0])
    )
    for claim, ours, plain, half in (
        (claims[1], violated, violated_plain, 0.005),
        (claims[2], hours, hours_plain, 0.05),
    ):
        least, most = (100 * (1 - (ours + off) / (plain - off)) for off in (half, -half))
        assert round(least) <= int(claim) <= round(most)


def test_what_it_costs_is_what_was_counted() -> None:
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    counted = re.search(r"│ Tidegate adds +│ +([\d.]+) │ +([\d.]+) │ +([\d.]+) │", page)
    assert counted
    costs = README.split("## What it costs")[1].split("## ")[0]
    assert re.findall(r"\d+\.\d\d", costs) == [*counted.groups()]
