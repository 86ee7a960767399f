"""Pages of the built site in a browser, 1280 and 390 pixels wide, light and dark: pictures of them, the contrast of
every text, whether anything is wider than the window, and how long a page takes to open.

``python -m tools.site.screenshots out/site out/screenshots [PAGE ...]``: without pages, those of every section.
Chromium is that of the variable CHROMIUM, or the system's.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

SIZES = ((1280, 900), (390, 844))  # pixels: a desk, a telephone
THEMES = ("light", "dark")
TALLEST = 4000  # pixels of a page that a picture shows
PATIENCE = 180_000  # milliseconds for a picture, on a machine that does other things too
LIMIT = 1.0  # seconds in which a page opens from disk
EACH = 4  # pages of a section
CHECK = Path(__file__).with_name("contrast.js")


def chosen(site: Path) -> list[str]:
    """The start page, the index of each section, and some of the pages below it: of the reference the first of each
    kind, of the others all where there are few.
    """
    found = ["index.html", *(name for name in ("contribute.html", "references.html") if (site / name).exists())]
    for index in sorted(site.glob("*/index.html")):
        section = index.parent
        if section.name.startswith("_"):
            continue
        below = sorted(path for path in section.rglob("*.html") if path != index)
        step = max(1, len(below) // EACH)
        found += [path.relative_to(site).as_posix() for path in (index, *below[::step][:EACH])]
    return found


def browser() -> str:
    """Where Chromium is.

    Raises:
        FileNotFoundError: nowhere.
    """
    named = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if named is None or not Path(named).exists():
        raise FileNotFoundError("no Chromium: install it, or name it in the variable CHROMIUM")
    return named


def look(site: Path, out: Path, pages: list[str]) -> Iterator[str]:
    """Take the pictures of pages; what is wrong with them, a line each."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    opened: dict[str, float] = {}  # in the quickest of the visits: others wait for what the machine does besides
    with sync_playwright() as playwright:
        options = ["--disable-gpu", "--disable-background-networking", "--no-first-run", "--force-color-profile=srgb"]
        chromium = playwright.chromium.launch(executable_path=browser(), chromium_sandbox=False, args=options)
        for theme in THEMES:
            for width, height in SIZES:
                context = chromium.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme=theme,
                    reduced_motion="reduce",
                    offline=True,
                )
                context.add_init_script(
                    f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
                )
                for page in pages:
                    tab = context.new_page()
                    failed: list[str] = []
                    tab.on("pageerror", lambda error, failed=failed: failed.append(f"script: {error}"))
                    tab.on("requestfailed", lambda request, failed=failed: failed.append(f"not loaded: {request.url}"))
                    tab.goto((site / page).resolve().as_uri(), wait_until="load", timeout=PATIENCE)
                    tab.wait_for_function(
                        "!window.MathJax?.startup?.promise || window.MathJax.startup.promise.then(() => true)"
                    )
                    tab.wait_for_timeout(100)
                    said = tab.evaluate(CHECK.read_text(encoding="utf-8"))
                    opened[page] = min(opened.get(page, float("inf")), said["seconds"])
                    name = re.sub(r"[^\w.]+", "-", page.removesuffix(".html"))
                    height_shown = min(tab.evaluate("document.documentElement.scrollHeight"), TALLEST)
                    clip = {"x": 0, "y": 0, "width": width, "height": height_shown}
                    tab.screenshot(
                        path=out / f"{name}-{width}-{theme}.png", full_page=True, clip=clip, timeout=PATIENCE
                    )
                    yield from (
                        f"{page}, {width}, {theme}: {line}" for line in [*said["contrast"], *said["wide"], *failed]
                    )
                    tab.close()
                context.close()
        chromium.close()
    slowest = max(opened, key=lambda page: opened[page])
    print(f"slowest page: {slowest}, {opened[slowest]:.2f} s until it is loaded")
    yield from (
        f"{page}: opens in {seconds:.2f} s, more than {LIMIT:.0f} s"
        for page, seconds in opened.items()
        if seconds > LIMIT
    )


def main() -> None:
    site, out, *pages = sys.argv[1:]
    pages = pages or chosen(Path(site))
    said = list(look(Path(site), Path(out), pages))
    print(*said, sep="\n", end="\n" if said else "")
    print(f"{len(pages)} pages, {len(SIZES)} widths, {len(THEMES)} themes in {out}: {len(said) or 'no'} findings")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
