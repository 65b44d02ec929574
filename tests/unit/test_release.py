"""The release script, in a repository of its own whose Makefile builds two small files."""

import subprocess
import zipfile
from pathlib import Path

import pytest

from env.release import git, main, packed, section_of

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-11-23\n\n### Added\n\n- A gate.\n\n## [0.1.0] - 2026-01-01\n\n- All.\n"
MAKEFILE = """build:
	@mkdir -p .aws-sam/build/code/__pycache__ && echo code > .aws-sam/build/code/a.py && touch .aws-sam/build/.done
	@echo old > .aws-sam/build/code/__pycache__/a.pyc && echo {} > .aws-sam/build/template.yaml
sbom:
	@mkdir -p out && echo {} > out/tidegate.cdx.json
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in {
        "pyproject.toml": '[project]\nversion = "0.2.0"\n',
        "CHANGELOG.md": CHANGELOG,
        "Makefile": MAKEFILE,
        ".gitignore": "out/\n.aws-sam/\n",
    }.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    git(tmp_path, "config", "user.name", "somebody")
    git(tmp_path, "config", "user.email", "somebody@example.com")
    commit(tmp_path)
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def commit(repository: Path) -> None:
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "work")


def test_a_release_is_an_archive_a_bill_their_sums_and_a_tag(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["0.2.0"], repository) == 0
    out = repository / "out/release"
    with zipfile.ZipFile(out / "tidegate-0.2.0.zip") as archive:
        assert archive.namelist() == ["code/a.py", "template.yaml"]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=out, check=True, capture_output=True)  # noqa: S607 - on PATH
    assert len((out / "SHA256SUMS").read_text().splitlines()) == 2
    assert git(repository, "tag", "--list", "-n9", "v0.2.0").split() == [
        "v0.2.0", "Tidegate", "0.2.0", "###", "Added", "-", "A", "gate.",
    ]  # fmt: skip
    assert "git push origin main v0.2.0" in capsys.readouterr().out


def test_a_dry_run_builds_and_tags_nothing(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["0.2.0", "--dry-run"], repository) == 0
    assert "Nothing stands against 0.2.0" in capsys.readouterr().out
    assert not (repository / "out").exists()
    assert git(repository, "tag") == "v0.1.0"


def test_everything_that_stands_against_it_is_said_at_once(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "switch", "--quiet", "--create", "work")
    (repository / "pyproject.toml").write_text('[project]\nversion = "0.1.1"\n')
    (repository / "CHANGELOG.md").write_text("## [Unreleased]\n\n- A gate.\n\n## [0.1.0] - 2026-01-01\n\n- All.\n")
    assert main(["0.0.9", "--dry-run"], repository) == 2
    said = capsys.readouterr().err.splitlines()
    for line, words in zip(
        said,
        ("branch = 'work'", "2 files differ", "project.version = '0.1.1'", "[0.0.9] - YYYY", "must come after 0.1.0"),
        strict=True,
    ):
        assert words in line
    assert main(["next"], repository) == 2
    assert "three numbers" in capsys.readouterr().err


@pytest.mark.parametrize(("heading", "said"), [("## [1.0.0] - 2026-11-23", "- x"), ("## [1.0.0]", ""), ("## [1.0.0] - soon", "")])  # fmt: skip
def test_a_section_has_a_date(heading: str, said: str) -> None:
    assert section_of(f"{heading}\n\n- x\n\n## [0.9.0] - 2026-01-01\n\n- y\n", "1.0.0") == said


def test_one_tree_makes_one_archive(tmp_path: Path) -> None:
    for place, order in (("one", "ab"), ("two", "ba")):
        for name in order:
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / name).write_text(name)
        packed(tmp_path / place, tmp_path / f"{place}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
