"""A real browser, driven through a pair of pipes (Chromium's DevTools protocol: JSON with a zero byte behind it)."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
]
# The protocol's pipes are the file descriptors 3 and 4.
LAUNCH = """
import fcntl, os, sys
commands, answers = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(commands, 3)
os.dup2(answers, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in a headless Chromium. Every call has a deadline."""

    def __init__(self, commands: int, answers: int) -> None:
        """Talk through these two file descriptors."""
        self.commands = commands
        self.answers = answers
        self.rest = b""
        self.asked = 0
        self.session: str | None = None

    def call(self, method: str, within: float = 30.0, **params: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come meanwhile are dropped."""
        self.asked += 1
        command = {"id": self.asked, "method": method, "params": params}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + within
        while True:
            answer = self.read(deadline)
            if answer.get("id") == self.asked:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def read(self, deadline: float) -> dict[str, Any]:
        """Return the next message of the browser."""
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.answers], [], [], max(deadline - time.monotonic(), 0.0))
            assert ready, "the browser did not answer in time"
            part = os.read(self.answers, 65536)
            assert part, "the browser is gone"
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def open(self, url: str, width: int = 1280, height: int = 1120, scheme: str = "light") -> None:
        """Open a page of this size, in the light or the dark scheme."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """Return what a JavaScript expression is worth in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, within: float = 20.0) -> Any:
        """Return what the expression is worth as soon as that is true; it is looked at with every frame."""
        watch = f"""new Promise((done, fail) => {{
            const end = performance.now() + {within * 1000};
            (function look() {{
                const value = ({script});
                if (value) done(value);
                else if (performance.now() > end) fail(new Error("still not: " + {json.dumps(script)}));
                else requestAnimationFrame(look);
            }})();
        }})"""
        return self.evaluate(watch)

    def screenshot(self, path: Path) -> None:
        """Store what the page looks like as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with this directory for its own files, and end it with the body."""
    assert CHROMIUM is not None
    commands_in, commands_out = os.pipe()
    answers_in, answers_out = os.pipe()
    line = [sys.executable, "-c", LAUNCH, str(commands_in), str(answers_out), CHROMIUM, *FLAGS]
    process = subprocess.Popen(
        [*line, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(commands_in, answers_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands_in)
    os.close(answers_out)
    try:
        yield Browser(commands_out, answers_in)
    finally:
        process.terminate()
        process.wait(20)
        os.close(commands_out)
        os.close(answers_in)
