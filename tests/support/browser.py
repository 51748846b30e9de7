"""A real browser for tests: Chromium without a window, over its debugging pipe.

The Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/) is JSON with a
zero byte after each message, so no package is needed to speak it.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TIMEOUT_S = 60
CENTER = '{block: "center", behavior: "instant"}'
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--remote-debugging-pipe",
)  # fmt: skip
# Number and text of keys, as a keyboard sends them.
KEYS = {
    "Tab": 9, "Enter": 13, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
TEXTS = {"Enter": "\r", " ": " "}


def require_browser() -> None:
    """Skip the test without a browser; under CI fail, so that the check is never left out there."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium on this machine")


class Page:
    """A tab of the browser.

    Attributes:
        errors: what the console reported, and every request for anything but the page itself.
    """

    def __init__(self, browser: _Browser, session: str) -> None:
        """Take over a tab, and listen to all that it reports."""
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol."""
        return self._browser.call(method, parameters, self._session)

    @property
    def errors(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and requests to anything but a file."""
        found = []
        for event in self._browser.events:
            method, given = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(str(given["exceptionDetails"]))
            elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning"):
                found.append(str(given["args"]))
            elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
                found.append(given["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                url = given["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    found.append(f"request of {url}")
        return found

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the window in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def open(self, path: Path) -> None:
        """Open a file, and wait until it has loaded."""
        self._browser.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._browser.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, (script, result)
        return result["result"].get("value")

    def draw(self) -> None:
        """Wait until what was changed is drawn: clicks and wheel go to what is on the screen."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key."""
        given = {"key": key, "code": "Space" if key == " " else key}
        given |= {"windowsVirtualKeyCode": KEYS[key]}  # type: ignore[dict-item]
        for _ in range(times):
            text = {"text": TEXTS[key]} if key in TEXTS else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **given, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def middle_of(self, selector: str) -> tuple[float, float]:
        """Return where the middle of an element is in the window, after scrolling to it."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({CENTER})")
        self.draw()
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return x, y

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        x, y = self.middle_of(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def turn_wheel(self, selector: str, pixels: int) -> None:
        """Turn the mouse wheel over an element."""
        x, y = self.middle_of(selector)
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=pixels)

    def picture(self, path: Path | None = None, *, whole: bool = False) -> bytes:
        """Return a PNG of the window or of the whole page, and write it to `path`."""
        content = base64.b64decode(
            self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        )
        if path is not None:
            path.write_bytes(content)
        return content

    def wait_until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT_S
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def nodes(self) -> list[dict[str, Any]]:
        """Return what assistive technology is told: role, name and properties of each part."""
        tree = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                **{each["name"]: each["value"].get("value") for each in node.get("properties", [])},
            }
            for node in tree
            if not node["ignored"]
        ]


class _Browser:
    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()
        # Chromium reads from 3 and writes to 4. Numbers far above are in nobody's way.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 50) for end in (theirs_in, theirs_out)]
        nothing = os.open(os.devnull, os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, nothing, to) for to in (1, 2)]
        actions += [(os.POSIX_SPAWN_DUP2, end, to) for end, to in zip(ends, (3, 4), strict=True)]
        command = [CHROMIUM, *ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(CHROMIUM, command, os.environ, file_actions=actions)
        for end in (theirs_in, theirs_out, *ends, nothing):
            os.close(end)
        self._buffer, self._count = b"", 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, parameters: Any, session: str | None = None) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, method: str) -> None:
        while not any(event["method"] == method for event in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], TIMEOUT_S)
            assert ready, f"Chromium does not answer within {TIMEOUT_S} s"
            new = os.read(self._in, 1 << 20)
            assert new, "Chromium has ended"
            self._buffer += new
        text, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def close(self) -> None:
        with suppress(OSError, AssertionError):
            self.call("Browser.close", {})
        for end in (self._in, self._out):
            os.close(end)
        end_at = time.monotonic() + 10
        while os.waitpid(self._process, os.WNOHANG)[0] == 0:
            if time.monotonic() > end_at:
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
                return
            time.sleep(0.05)


@contextmanager
def open_browser() -> Iterator[Page]:
    """Start Chromium and yield an empty page; skip or fail the test if there is none."""
    require_browser()
    profile = Path(tempfile.mkdtemp())
    browser = _Browser(profile)
    try:
        target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        yield Page(browser, session["sessionId"])
    finally:
        browser.close()
        shutil.rmtree(profile, ignore_errors=True)
