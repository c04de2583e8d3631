"""Pages in a real browser that reaches no network."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "Chromium is not installed"
# Services for continuous integration set CI, as .ci/run does; there, these tests fail without it.
needs_chromium = pytest.mark.skipif(not (CHROMIUM or os.environ.get("CI")), reason=MISSING)
WIDTH = 860  # pixels that GitHub gives to a page


@contextmanager
def opened(path: Path, width: int = WIDTH) -> Iterator[Page]:
    """A file in the browser, which by the end of the block has met no error and no network."""
    assert CHROMIUM, MISSING
    asked, errors = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        page.on("dialog", lambda dialog: errors.append(dialog.message) or dialog.dismiss())
        page.goto(path.as_uri())
        yield page
        browser.close()
    assert not errors
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
