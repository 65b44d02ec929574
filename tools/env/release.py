"""Make a release: `python tools/env/release.py VERSION [--dry-run]`, or `make release VERSION=0.2.0`.

It refuses, with every reason at once, unless the tree is a clean `main`, pyproject.toml has the version,
CHANGELOG.md has a dated section of it, and it comes after the newest tag. Then it builds, writes the artefact, its
bill of materials and their SHA-256 sums to `out/release/`, and tags. It sends nothing anywhere: pushing the tag is a
person's decision.
"""  # noqa: INP001  (tools/env holds lock files and scripts; it is not a package)

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILD, SBOM, OUT = Path(".aws-sam/build"), Path("out/tidegate.cdx.json"), Path("out/release")
VERSION = re.compile(r"\d+\.\d+\.\d+")
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of each file in the archive, so that one tree makes one archive."""


def git(root: Path, *words: str) -> str:
    """Return what git says."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)  # noqa: S603, S607 - our own words
    return done.stdout.strip()


def section_of(changelog: str, version: str) -> str:
    """Return what CHANGELOG.md says of a version; empty if it has no dated section."""
    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n"
    found = re.search(heading + r"(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def problems(root: Path, version: str) -> Iterator[str]:
    """Yield what stands against the release."""
    if not VERSION.fullmatch(version):
        yield f"version = {version!r}: must be three numbers, such as 0.2.0"
        return
    if (branch := git(root, "branch", "--show-current")) != "main":
        yield f"branch = {branch!r}: must be main"
    if changed := git(root, "status", "--short"):
        yield f"{len(changed.splitlines())} files differ from the last commit: must be none"
    stated = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    if stated != version:
        yield f"pyproject.toml, project.version = {stated!r}: must be {version}"
    if not section_of((root / "CHANGELOG.md").read_text(encoding="utf-8"), version):
        yield f"CHANGELOG.md: must have a section '## [{version}] - YYYY-MM-DD' that says what changed"
    released = [tag[1:] for tag in git(root, "tag", "--list", "v*").split() if VERSION.fullmatch(tag[1:])]
    newest = max(released, key=_numbers, default="0.0.0")
    if _numbers(version) <= _numbers(newest):
        yield f"version = {version!r}: must come after {newest}, the newest tag"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def packed(build: Path, archive: Path) -> None:
    """Write a built tree into an archive that `sam deploy` takes once it is unpacked; one tree makes one archive."""
    files = sorted(path for path in build.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path in files:
            if path.name == ".done":
                continue
            info = zipfile.ZipInfo(path.relative_to(build).as_posix(), EPOCH)
            info.external_attr = (0o755 if path.stat().st_mode & 0o100 else 0o644) << 16
            made.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED)


def release(root: Path, version: str) -> list[Path]:
    """Build, pack, sum and tag; returns the files that were written."""
    subprocess.run(["make", "--directory", str(root), "build", "sbom"], check=True)  # noqa: S603, S607 - our own words
    out = root / OUT
    out.mkdir(parents=True, exist_ok=True)
    archive, bill, sums = out / f"tidegate-{version}.zip", out / f"tidegate-{version}.cdx.json", out / "SHA256SUMS"
    packed(root / BUILD, archive)
    bill.write_bytes((root / SBOM).read_bytes())
    sums.write_text(
        "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in (archive, bill)),
        encoding="utf-8",
    )
    said = section_of((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    git(root, "tag", "--annotate", f"v{version}", "--cleanup=verbatim", "--message", f"Tidegate {version}\n\n{said}")
    return [archive, bill, sums]


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Return 0 if it is released, or would be with `--dry-run`; 2 if something stands against it."""
    parser = argparse.ArgumentParser(description="Make a release.")
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true", help="only say what stands against it")
    asked = parser.parse_args(arguments)
    if against := list(problems(root, asked.version)):
        print(*against, sep="\n", file=sys.stderr)
        return 2
    if asked.dry_run:
        print(f"Nothing stands against {asked.version}. It would be built into {OUT} and tagged v{asked.version}.")
        return 0
    print(*(str(file.relative_to(root)) for file in release(root, asked.version)), sep="\n")
    print(f"Tagged v{asked.version}. Next: git push origin main v{asked.version}; the files go to the release.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
