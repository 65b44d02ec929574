"""`make screenshots`: takes anew the pictures of reports that README shows, of the very runs that it shows beside them."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import sync_playwright

from tests.browser.test_report import CHROMIUM, FLAGS

ROOT = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 1180, 900
PICTURES = {
    "backtest.png": (
        ("-c", "from cli.main import run; run()", "backtest", "traces/servegen_small_c31.csv", "--html"),
        "section[aria-labelledby=compared-heading] .card",
    ),
    "demo-report.png": (("-m", "cli.demo", "--in-process", "--report"), "section:has(#target-1) .card"),
}
"""By its name what writes the page, and the part of it that is shown."""


def main() -> None:
    """Write all of them."""
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, (command, part) in PICTURES.items():
            html = Path(folder) / f"{name}.html"
            words = [sys.executable, *command, str(html)]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            page.goto(html.as_uri())
            page.locator(".chart .main-svg").last.wait_for()
            page.locator(part).first.screenshot(path=ROOT / "docs/images" / name)
        browser.close()


if __name__ == "__main__":
    main()
