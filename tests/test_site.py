"""The site in a browser: every page opens without a request beyond this machine, an error, or a formula left as LaTeX.

Needs the extra `docs` and Chromium; `make docs` builds what is looked at. Run by `make test-site`.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WIDTHS = (390, 1280)

pytestmark = pytest.mark.site


def chromium() -> str:
    """Where the browser is."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "Chromium is not installed: apt-get install chromium, or name it in the variable CHROMIUM"
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from the tree as it is; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(out / "doctrees")]
    done = subprocess.run([*command, "docs", str(out / "html")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    return out / "html"


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Visitor:
    """Opens pages and notes what is wrong with them."""

    def __init__(self, address: str) -> None:
        self.address, self.where, self.found = address, "", list[str]()

    def note(self, problem: str) -> None:
        self.found.append(f"{self.where}: {problem}")

    def guard(self, route: Any) -> None:
        """Lets requests to this machine through, and no other."""
        if route.request.url.startswith((self.address, "data:")):
            route.continue_()
        else:
            self.note(f"asks for {route.request.url}")
            route.abort()

    def visit(self, browser: Any, width: int, names: list[str]) -> None:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.route("**/*", self.guard)
        page.on("console", lambda message: self.note(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.note(str(error)))
        page.on("response", lambda answer: self.note(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
        for name in names:
            self.where = f"{name} at {width}"
            page.goto(f"{self.address}/{name}", wait_until="load")
            for problem in page.evaluate(LOOK):
                self.note(problem)
        page.close()


def problems(address: str, names: list[str]) -> list[str]:
    """What is wrong with the pages, at both widths."""
    from playwright.sync_api import sync_playwright

    visitor = Visitor(address)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for width in WIDTHS:
            visitor.visit(browser, width, names)
        browser.close()
    return visitor.found


LOOK = r"""() => {
    const found = [];
    const root = document.documentElement;
    if (root.scrollWidth > root.clientWidth) found.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
    const text = document.querySelector("article");
    if (!text) return found.concat(["has no article"]);
    const walker = document.createTreeWalker(text, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest("pre, code, math, script, style")) continue;
        if (/\$[^$]*\$|\\(frac|delta|mathrm|sum|left)\b/.test(node.data)) found.push(`a formula is left: ${node.data}`);
    }
    for (const math of text.querySelectorAll("math")) {
        const empty = math.getBoundingClientRect().width === 0;
        if (empty && math.textContent.trim()) found.push(`not shown: ${math.textContent}`);
        if (math.querySelector("merror")) found.push(`error in ${math.textContent}`);
    }
    for (const image of text.querySelectorAll("img")) {
        if (image.complete && image.naturalWidth === 0) found.push(`no picture at ${image.src}`);
    }
    return found;
}"""


def test_every_page(site: Path, address: str) -> None:
    names = sorted(str(file.relative_to(site)) for file in site.rglob("*.html") if "_static" not in file.parts)
    assert len(names) > 100
    assert not problems(address, names)


def test_the_look_finds_what_is_wrong(site: Path, address: str) -> None:
    bad = """<!doctype html><article>$\\frac{a}{b}$<div style="width: 3000px">wide</div><img src="missing.png">
        <script>throw new Error("broken")</script><script src="https://example.org/a.js"></script></article>"""
    (site / "bad.html").write_text(bad, encoding="utf-8")
    found = "\n".join(problems(address, ["bad.html"]))
    (site / "bad.html").unlink()
    for expected in ("a formula is left", "scrolls sideways", "no picture", "broken", "asks for https://example.org"):
        assert expected in found
