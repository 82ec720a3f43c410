#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The dashboard page in a browser: it shows which backend is out and why, a reset by its button brings the backend
back, what strangers wrote stays text, and it says so when there is no answer any more."""
import http.server
import json
import os
import signal
import tempfile
import threading

from browser import Browser, need_browser
from harness import Holdfast, Origin, answer, equal, head, until

EVIL = "/<img/src=x/onerror=document.title='owned'>"
ADDRESS = f"http://{os.environ['FLOW_ADMIN']}/"


def button(backend, word):
    return f'button[aria-label="{word} {backend}"]'


def state(browser, backend):
    """The row of a backend, as name and text of its cells."""
    return browser.run("""
        const row = [...document.querySelectorAll("#backends tr")].find(one => one.textContent.startsWith(arguments[0]));
        return row ? Object.fromEntries([...row.querySelectorAll("td[data-name]")].map(
            cell => [cell.dataset.name, cell.textContent])) : {};""", backend)


def until_state(browser, backend, wanted):
    until(lambda: wanted in state(browser, backend).get("state", ""), f"{backend} is {wanted}")


def confirm(browser, selector):
    """Clicks a button and then the one that means it. Nothing happens before that."""
    browser.click(selector)
    what = browser.text("#go")
    browser.click("#go")
    browser.until_text("#note", f"{what}: done")


def expect_text_only(browser):
    """Nothing that strangers wrote became an element, and no script of theirs ran."""
    equal("elements made of text", browser.run("return document.querySelectorAll('img, b, iframe').length"), 0)
    assert "owned" not in browser.run("return document.title")
    equal("what the browser complains about", browser.complaints(), [])


def follow_a_failing_backend(browser):
    bad = Origin(answer(500))
    with Holdfast({"gcp": bad, "azure": Origin(answer(200))}) as holdfast:
        browser.open(ADDRESS)
        until_state(browser, "gcp", "up")
        with holdfast.client() as client:
            while holdfast.backend("gcp")["state"] == "up":
                client.send(head("GET", EVIL))
                equal("status", client.response().status, 200)
        until_state(browser, "gcp", "ejected")
        row = state(browser, "gcp")
        told = [row[key] for key in ("failures / limit", "attempts", "status 200", "non-200", "connect errors")]
        equal("what the row tells", told, ["11 / 10", "11", "0", "11", "0"])
        assert "ago" in row["last ejected"], row
        equal("the other", state(browser, "azure")["failures / limit"], "0 / 10")
        equal("an alarm while one is up", browser.text("#alarm"), "")

        browser.click(button("gcp", "Evidence"))
        browser.until_text("#failures", EVIL)
        browser.until_text("#by", EVIL)
        browser.until_text("#causes", "5xx")
        expect_text_only(browser)

        browser.click(button("gcp", "Reset"))
        browser.click("#dialog button[value=no]")
        until(lambda: not browser.visible("#dialog"), "the dialog is gone")
        equal("after a reset that was not meant", holdfast.backend("gcp")["state"], "ejected")
        confirm(browser, button("gcp", "Reset"))
        equal("after a reset", holdfast.backend("gcp")["state"], "up")
        until_state(browser, "gcp", "up")
        equal("its failures", state(browser, "gcp")["failures / limit"], "0 / 10")

        confirm(browser, button("azure", "Drain"))
        until_state(browser, "azure", "draining")
        equal("after a drain", holdfast.backend("azure")["state"], "draining")
        browser.click(button("gcp", "Drain"))
        browser.until_text("#details", "No other is left")
        browser.click("#go")
        browser.until_text("#alarm", "ALL BACKENDS DRAIN")
        confirm(browser, button("azure", "Undrain"))
        until(lambda: browser.text("#alarm") == "", "the alarm is over")
        confirm(browser, "#all")
        until_state(browser, "gcp", "up")

        equal("stale", browser.visible("#stale"), False)
        holdfast.process.send_signal(signal.SIGSTOP)
        browser.until_text("#stale", "STALE: no answer")
        assert browser.visible("#stale") and not browser.visible("#ready")
        holdfast.process.send_signal(signal.SIGCONT)
        until(lambda: not browser.visible("#stale"), "the numbers are fresh again")
        holdfast.terminate()
        browser.until_text("#stale", "STALE: the endpoint can't be reached")
        assert browser.visible("#stale") and not browser.visible("#ready")
        assert "STALE" in browser.run("return document.title")
        browser.click(button("gcp", "Reset"))
        browser.click("#go")
        browser.until_text("#note", "failed, the endpoint can't be reached")
    with Holdfast({"gcp": bad}):
        until(lambda: not browser.visible("#stale"), "it goes on by itself")
        browser.complaints()  # of connections that were refused


def show_the_token(browser):
    with tempfile.NamedTemporaryFile("w", dir=os.environ["TMPDIR"]) as token:
        token.write("a-secret-token\n")
        token.flush()
        with Holdfast({"gcp": Origin()}, config={"admin": {"token_file": token.name}}):
            browser.open(ADDRESS)
            until(lambda: browser.visible("#login"), "the page asks for the token")
            equal("numbers without the token", browser.visible("#numbers"), False)
            browser.type("#token", "a-secret-tokem\n")
            browser.until_text("#why", "not the token")
            browser.type("#token", "a-secret-token\n")
            until_state(browser, "gcp", "up")
            equal("still asking", browser.visible("#login"), False)
            confirm(browser, button("gcp", "Drain"))
            browser.until_text("#alarm", "ALL BACKENDS DRAIN")
            kept = browser.run("return [document.cookie, sessionStorage.length, localStorage.length]")
            equal("what is kept of the token", kept, ["", 0, 0])
        token.seek(0)
        token.write("b")
        token.flush()
        with Holdfast({"gcp": Origin()}, config={"admin": {"token_file": token.name}}):
            until(lambda: browser.visible("#login"), "another token is asked for")
            for old in ("#alarm", "#numbers", "#ready"):
                equal(f"{old} of before", browser.visible(old), False)
            browser.type("#token", "b-secret-token\n")
            until_state(browser, "gcp", "up")
            until(lambda: browser.text("#alarm") == "", "the alarm is over")
            browser.complaints()  # of the 401, and of connections that were refused


class Liar(http.server.BaseHTTPRequestHandler):
    """Has the page of holdfast, but stats of its own."""

    page = stats = None
    under_way = most = asked = 0
    go_on = threading.Event()
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = self.page.body if self.path == "/" else self._stats()
        self.send_response(200)
        if self.path == "/":
            for name, value in self.page.fields:
                if name in ("content-type", "content-security-policy"):
                    self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stats(self):
        with self.lock:
            Liar.asked += 1
            Liar.under_way += 1
            Liar.most = max(Liar.most, Liar.under_way)
        self.go_on.wait(2)
        with self.lock:
            Liar.under_way -= 1
        return json.dumps(Liar.stats).encode()


def lie_to_it(browser):
    with Holdfast({"gcp": Origin()}) as holdfast:
        Liar.page = holdfast.admin("GET", "/")
        Liar.stats = json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)
    evil = '"><b onmouseover="document.title=1">&lt;<iframe src=javascript:1>'
    backend = Liar.stats["backends"][0]
    backend.update(name=evil, url=evil, state=evil, addresses=[evil], resolve_error=evil)
    Liar.stats.update(version=evil, all_ejected=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.open(f"http://127.0.0.1:{server.server_port}/")
    until(lambda: Liar.asked >= 2, "it has asked twice, though each answer takes longer than a second")
    equal("requests at the same time", Liar.most, 1)
    Liar.go_on.set()
    browser.until_text("#alarm", "ALL BACKENDS ARE OUT")
    browser.click("#backends button")
    browser.until_text("#facts", evil)
    for place in ("#backends th", "#backends td", "#front", "#of"):
        assert evil in browser.text(place), place
    expect_text_only(browser)

    del backend["errors"]
    browser.until_text("#stale", "what answers is not Holdfast")
    assert "undefined" not in browser.text("body") and "NaN" not in browser.text("#numbers")
    server.shutdown()
    server.server_close()


need_browser()
with Browser() as window:
    follow_a_failing_backend(window)
    show_the_token(window)
    lie_to_it(window)
