"""`make screenshots`: takes anew the pictures of reports that README and docs show, of the runs shown beside them."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from tests.browser.test_report import CHROMIUM, FLAGS
from tests.docs.shell import rendered

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs/images"
WIDTH, HEIGHT, MARGIN = 1180, 900, 16
PICTURES = {
    "backtest.png": (
        ("-c", "from cli.main import run; run()", "backtest", "traces/servegen_small_c31.csv", "--html"),
        "section[aria-labelledby=compared-heading] .card",
    ),
    "demo-report.png": (("-m", "cli.demo", "--in-process", "--report"), "section:has(#target-1) .card"),
}
"""By its name what writes the page, and the part of it that is shown."""

FLEET = "docs/backtest.md"
"""Its own command writes the page that it shows, in the account that it is of."""


def main() -> None:
    """Write all of them."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, (command, part) in PICTURES.items():
            html = Path(folder) / f"{name}.html"
            words = [sys.executable, *command, str(html)]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
            page = _opened(browser, html)
            page.locator(".chart .main-svg").last.wait_for()
            page.locator(part).first.screenshot(path=IMAGES / name)
        rendered(FLEET, Path(folder), slow=True)
        page = _opened(browser, Path(folder) / "out/fleet/index.html")
        judged = page.locator("#summary").bounding_box()
        assert judged is not None
        shown = FloatRect(x=0, y=0, width=WIDTH, height=judged["y"] + judged["height"] + MARGIN)
        page.screenshot(path=IMAGES / "fleet.png", full_page=True, clip=shown)
        browser.close()


def _opened(browser: Browser, html: Path) -> Page:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
    page.goto(html.as_uri())
    return page


if __name__ == "__main__":
    main()
