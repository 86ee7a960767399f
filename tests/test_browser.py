"""The page in a real browser, where there is one: headless Chromium."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from test_study import comparison as comparison
from test_study import trained as trained

from tools.site.screenshots import look
from unrolling.report.collection import write_collection
from unrolling.report.page import write_page
from unrolling.tasks.exhibits import Panels

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")]


def browse(page, folder, *options):
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    command = [
        CHROMIUM,
        *flags,
        "--disable-sync",
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr",
        "--v=0",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    panels = [
        ("original", torch.rand(80, 80).numpy()),
        *((f"layer {k}", torch.rand(80, 80).numpy()) for k in (1, 2, 3)),
    ]
    full = replace(comparison, layer_pictures=[Panels("camera", panels)], pictures=[Panels("camera", panels)])
    return write_page(full, tmp_path_factory.mktemp("page"))


def test_it_opens_without_a_complaint_and_shows_what_it_holds(page, tmp_path, comparison):
    done = browse(page, tmp_path, "--dump-dom")
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not complaints
    assert done.stdout.count("<section") == 14  # one for each part of a comparison that has them all
    assert done.stdout.count("<svg") >= 10
    assert comparison.rows[0].name in done.stdout


def test_no_request_leaves_it(page, tmp_path):
    log = tmp_path / "net.json"
    browse(page, tmp_path, f"--log-net-log={log}", "--dump-dom")
    text = log.read_text()
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # the browser may leave before it has closed the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    urls = {event.get("params", {}).get("url", "") for event in events}
    assert not {url for url in urls if re.match(r"https?://", url) and "google" not in url and "gstatic" not in url}


@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_narrow_and_wide_windows(page, tmp_path, width):
    """A script of the test's own, beside the page, looks at how wide its content is."""
    text = page.read_text()
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    probe = (
        "<script>document.title = 'width ' + document.documentElement.scrollWidth + ' of ' + "
        "window.innerWidth</script></body>"
    )
    wide = tmp_path / "probe.html"
    wide.write_text(text.replace("</body>", probe))
    done = browse(wide, tmp_path, f"--window-size={width},900", "--dump-dom")
    content, window = map(int, re.search(r"<title>width (\d+) of (\d+)</title>", done.stdout).groups())
    assert content <= window


def test_it_can_be_read_on_a_desk_and_a_telephone_by_day_and_night(page, comparison, tmp_path):
    """The contrast of every text, and whether anything is wider than the window: of the page, and of one of several."""
    pytest.importorskip("playwright")
    shutil.copy(page, tmp_path / "one.html")
    write_collection([comparison, comparison], tmp_path)
    found = list(look(tmp_path, tmp_path / "seen", ["one.html", "index.html"]))
    assert [line for line in found if "opens in" not in line] == []
    assert len(list((tmp_path / "seen").glob("*.png"))) == 8


def test_a_picture_opens_over_the_window_and_the_next_is_a_click_away(page):
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        tab = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False).new_page()
        tab.goto(page.as_uri())
        shown = "[...document.querySelectorAll('.stage figure')].filter(f => f.offsetParent || f.matches(':target'))"
        named = f"{shown}.map(f => f.querySelector('figcaption').textContent)"
        assert tab.evaluate(named) == ["layer 3"]
        tab.focus("#stage1-4")
        tab.keyboard.press("ArrowLeft")
        assert tab.evaluate(named) == ["layer 2"]
        tab.click("#picture1-3 .whole")
        tab.click("figure:target .turn a:last-child")
        assert tab.url.endswith("#picture1-4")
        width = "document.querySelector('figure:target').getBoundingClientRect().width"
        assert tab.evaluate(width) == tab.viewport_size["width"]
        tab.click("figure:target .turn a:nth-child(2)")
        assert tab.evaluate(named) == ["layer 2"]


def test_the_slider_answers_to_the_keyboard(page, tmp_path):
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    probe = """<script>
    const radios = [...document.querySelectorAll('.slider input')];
    const shown = () => [...document.querySelectorAll('.slider figure')]
      .filter(f => getComputedStyle(f).display !== 'none').length;
    radios[1].focus(); radios[1].checked = true;
    document.title = 'shown ' + shown() + ' tab ' + radios.every(r => r.tabIndex === 0)
      + ' active ' + (document.activeElement === radios[1]);
    </script></body>"""
    own = tmp_path / "probe.html"
    own.write_text(text.replace("</body>", probe))
    assert "<title>shown 1 tab true active true</title>" in browse(own, tmp_path, "--dump-dom").stdout
