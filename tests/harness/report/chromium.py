"""Pages opened in a real browser without a window, and a listener that counts who comes."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests import server
from tests.patience import PATIENCE

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip
MEASURE = """<script>
onload = () => {
  const told = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const images = [...page.images].filter(image => !image.complete || !image.naturalWidth);
    return [root.scrollWidth, root.scrollHeight, images.length].join(" ");
  });
  document.title = told.join("; ");
};
</script>"""


def opened(page: str, folder: Path) -> str:
    """What a page has become after it was opened in Chromium and has loaded all that it loads."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True)
    return done.stdout.decode()


def measured(pages: list[str], width: int, folder: Path) -> list[tuple[int, int, int]]:
    """Of each page in a frame of this width: the width and the height that it takes, and how many pictures are broken."""
    frames = "".join(
        f'<iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{escape(page)}"></iframe>'
        for page in pages
    )
    title = opened(f"<!DOCTYPE html><title></title>{MEASURE}{frames}", folder).partition("<title>")[2].partition("<")[0]
    return [tuple(map(int, told.split())) for told in title.split(";")]  # type: ignore[misc]


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """The address of a web server of one's own, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with server.running(Handler) as address:
        yield address, asked
