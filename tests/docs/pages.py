"""The pages of this repository as a reader sees them: code blocks, links, anchors, and what is said of a block.

A comment on the line before a block says how it is held:

`<!-- not run: WHY -->`     its commands need what a test has not; they must still be commands that exist
`<!-- slow: WHY -->`        run by `make docs`, not by the test
`<!-- from: FILE -->`       its text stands in that file
`<!-- not ours: WHY -->`    YAML that is no policy

A comment that stands alone speaks of what follows on the page:

`<!-- account: NAME -->`    commands are run in that account, from here to the page's end or the next such line
`<!-- later: 90m -->`       so much time passes there
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
)
_PART = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$|^<!-- (?P<word>account|later): (?P<said>.+?) -->$",
    re.MULTILINE | re.DOTALL,
)
_HELD = re.compile(r"<!-- (not run|slow|from|not ours): ((?:(?!-->).)+?) -->\n *$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of code."""

    page: str
    line: int
    language: str
    text: str
    held: str
    """`not run`, `slow`, `from`, `not ours`, or nothing."""

    why: str

    @property
    def name(self) -> str:
        """Return where it is."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Return each command of a console, and what is shown under it."""
        found = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        return [(command, shown) for command, _, shown in (part.partition("\n") for part in found[1:])]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happens between two blocks: `account` or `later`."""

    word: str
    said: str


def parts(page: str, text: str | None = None) -> Iterator[Block | Turn]:
    """Yield the blocks of a page, and what happens between them, in order."""
    text = (ROOT / page).read_text(encoding="utf-8") if text is None else text
    for found in _PART.finditer(text):
        if found["word"]:
            yield Turn(found["word"], found["said"])
            continue
        held = _HELD.search(text[: found.start()])
        word, why = held.groups() if held else ("", "")
        yield Block(page, text[: found.start()].count("\n") + 1, found["language"], found["text"], word, why)


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages that are in one of these languages."""
    return [b for page in PAGES for b in parts(page) if isinstance(b, Block) and b.language in languages]


def prose(page: str) -> str:
    """Return a page without its blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    made: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page.relative_to(ROOT).as_posix()), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().replace(" ", "-")
        slug = re.sub(r"[^\w-]", "", words)
        made.add(next(n for n in (slug, *(f"{slug}-{i}" for i in range(1, 100))) if n not in made))
    return made
