"""The page in a real Chromium: a block arrives, an eavesdropper is caught, an alarm comes and goes; nothing to blame for anybody.

``make browser-test`` runs these, with Debian's Chromium; pictures stay in the folder that ``QKD_SCREENSHOTS`` names, if any. Skipped by
name where there is no Chromium.
"""

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from tests.integration.live.processes import LiveLink

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
PATIENCE_MS = 120_000

DISCARDED = re.compile("phase-error-bound|leakage-exceeds-entropy")
"""Why a block of a link that somebody listens to gives no key."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    live = LiveLink(tmp_path_factory.mktemp("link"))
    live.start()
    live.wait_for_blocks(2)
    yield live
    live.close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def opened(link, browser, request):
    """Opens the page in a window; whatever the browser complains of, and whatever comes from elsewhere, fails the test."""
    complaints, elsewhere = [], []

    def open_page(name="bob", **window):
        window = {"viewport": {"width": 1200, "height": 1000}} | window
        page = browser.new_context(**window).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        address = f"http://127.0.0.1:{link.dashboard_ports[name]}/"
        page.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(address) else None)
        page.goto(address)
        return page

    yield open_page
    for context in browser.contexts:
        for page in context.pages:
            picture(page, request.node.name)
        context.close()
    assert complaints == []
    assert elsewhere == []


def picture(page, name):
    if folder := os.environ.get("QKD_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder, f"{re.sub('[^a-z0-9]+', '-', name.lower()).strip('-')}.png"), full_page=True)


def turn(link, **request):
    """Turn an actuator of the emulated fibre."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(link.folder / "fibre" / "run" / "control.sock"))
        control.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(control.makefile().readline())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_block_arrives_while_one_looks(opened, scheme):
    page = opened(color_scheme=scheme)
    expect(page.get_by_text("distilling key")).to_be_visible()
    newest = page.locator("table").first.locator("tbody th").first
    before = newest.inner_text()

    expect(newest).not_to_have_text(before, timeout=PATIENCE_MS)
    expect(page.get_by_role("img", name=re.compile("Error rate: Z"))).to_be_visible()


@pytest.mark.parametrize(
    "window", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}], ids=["light", "dark", "phone"]
)
def test_axe_finds_nothing(opened, window):
    page = opened(**window)
    expect(page.locator("polyline").nth(3)).to_be_attached(timeout=PATIENCE_MS)

    found = Axe().run(page).response["violations"]

    assert [(violation["id"], [node["html"] for node in violation["nodes"]]) for violation in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "wider than its window"


def test_it_is_read_without_a_script(opened):
    page = opened("alice", java_script_enabled=False)

    expect(page.get_by_text("distilling key")).to_be_visible()
    expect(page.locator("dt", has_text="QBER Z").locator("..")).to_contain_text("planned")
    page.get_by_role("link", name="1d").click()
    expect(page.locator("a[aria-current]")).to_have_text("1d")


def test_it_can_be_used_from_the_keyboard(opened):
    page = opened()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="1h")).to_be_focused()

    page.wait_for_timeout(5000)  # the page is refreshed twice meanwhile
    expect(page.get_by_role("link", name="1h")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("a[aria-current]")).to_have_text("1h")


def test_an_eavesdropper_is_caught_and_the_alarm_goes_when_she_does(link, opened):
    page = opened()
    expect(page.locator("section", has_text="Alarms")).to_contain_text("none")
    turn(link, set="eve", value="intercept-resend=1")

    expect(page.locator(".alarms")).to_contain_text("QkdBlocksDiscarded", timeout=PATIENCE_MS)
    expect(page.locator("table").first).to_contain_text(DISCARDED, timeout=PATIENCE_MS)
    turn(link, set="eve", value=None)
    expect(page.locator("table").first.locator("tbody tr").first).not_to_contain_text(DISCARDED, timeout=PATIENCE_MS)


def test_an_alarm_is_raised_and_cleared_and_a_node_that_is_gone_is_said_to_be(link, opened):
    page = opened()
    link.stop("fibre")
    expect(page.locator(".alarms")).to_contain_text("QkdStreamLost", timeout=PATIENCE_MS)
    link.start("fibre")
    expect(page.locator("main")).not_to_contain_text("QkdStreamLost", timeout=PATIENCE_MS)

    link.pause("bob")
    expect(page.locator("main")).to_have_class("stale", timeout=PATIENCE_MS)
    link.resume("bob")
    expect(page.locator("main")).not_to_have_class("stale", timeout=PATIENCE_MS)
