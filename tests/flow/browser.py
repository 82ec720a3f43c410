# SPDX-License-Identifier: MIT
"""Chromium without a window, for stories about the dashboard page. It is told what to do by chromium-driver, in
the WebDriver protocol (W3C), which is JSON over HTTP."""
import base64
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from harness import WAIT_SECONDS, until

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key by which the protocol names one


def need_browser():
    """Ends the story as skipped where there is no browser."""
    for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(program) is None:
            print(f"{program} is missing (package {package})")
            sys.exit(77)


class Browser:
    """One window with a profile of its own. Elements are named by CSS selectors."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        line = next(line for line in self.driver.stdout if "started successfully" in line)
        self.port = int(re.search(r"on port (\d+)", line)[1])
        options = {"binary": shutil.which("chromium"),
                   "args": [*FLAGS, f"--user-data-dir={os.path.join(self.folder.name, 'profile')}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = ""
        self.session = "/" + self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait(WAIT_SECONDS)
            self.driver.stdout.close()
            self.folder.cleanup()

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * WAIT_SECONDS)
        path = path if path == "/session" else f"/session{self.session}{path}"
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message'][:500]}")
        return value

    def open(self, address):
        self._ask("POST", "/url", {"url": address})

    def run(self, script, *arguments):
        """What SCRIPT, the body of a function, returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self, selector):
        """The text in the first element that fits, or None when there is none."""
        return self.run("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def visible(self, selector):
        return self.run("return document.querySelector(arguments[0])?.checkVisibility() ?? false", selector)

    def until_text(self, selector, wanted):
        until(lambda: wanted in (self.text(selector) or ""), f"{selector} has {wanted!r}")

    def _find(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        """As a mouse does: what is hidden, covered or out of reach can't be clicked."""
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def type(self, selector, keys):
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": keys})

    def complaints(self):
        """What the browser wrote to its console since it was asked last: errors of scripts, breaches of the policy."""
        return [line["message"] for line in self._ask("POST", "/se/log", {"type": "browser"})]

    def size(self, width, height):
        self._ask("POST", "/window/rect", {"width": width, "height": height})

    def emulate(self, command, parameters):
        """A command of Chromium's own protocol."""
        self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path):
        """Writes what the window shows as PNG."""
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._ask("GET", "/screenshot")))
