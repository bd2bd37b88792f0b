"""The telemetry daemon in a process of its own, and a client of its HTTP interface."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

ROOT = Path(__file__).parents[2]
TARGET = "examples/telemetry/app.py:tree"


def free_port() -> int:
    """A port that nobody uses right now; the daemon needs the same one for every generation of its server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Station:
    """One daemon, from its start to its end. What it logs is kept in `log`."""

    def __init__(self, database: Path, rules: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {**os.environ, "TELEMETRY_DB": str(database), "TELEMETRY_PORT": str(self.port)}
        if rules is not None:
            environment["TELEMETRY_RULES"] = rules
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trouper", "run", TARGET],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self.ready = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        transport = httpx.HTTPTransport(retries=4)  # with a growing pause: for a server that is just being replaced
        self.client = httpx.Client(base_url=self.url, transport=transport, timeout=20)

    def read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if " ready after " in line:
                self.ready.set()
        self.ready.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self.reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def up(self) -> Self:
        """Wait until the tree is up."""
        assert self.ready.wait(30), "".join(self.log)
        assert self.process.poll() is None, "".join(self.log)
        return self

    def end(self, within: float = 20) -> tuple[int, str]:
        """Wait until the daemon has ended by itself, and return its exit code and what it logged."""
        code = self.process.wait(within)
        self.reader.join(within)
        return code, "".join(self.log)

    def get(self, path: str) -> Any:
        """The JSON at this path."""
        answer = self.client.get(path)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    @contextmanager
    def live(self) -> Iterator[Iterator[Any]]:
        """The stream of what is new."""
        with self.client.stream("GET", "/api/live") as stream:
            yield (json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data: "))

    def until(self, wanted: Callable[[Any], object], most: int = 20) -> Any:
        """The first news that is wanted; the stream is opened anew when its server was replaced."""
        seen: list[Any] = []
        while len(seen) < most:
            try:
                with self.live() as stream:
                    for news in stream:
                        if wanted(news):
                            return news
                        seen.append(news)
                        if len(seen) >= most:
                            break
            except (httpx.RemoteProtocolError, httpx.ReadError):
                continue
        raise AssertionError(f"not among {most} news: {seen[-1]}; log: {''.join(self.log)}")

    def actor(self, name: str, news: Any | None = None) -> Any:
        """What the roll says about an actor."""
        tree = (news or self.get("/api/state"))["tree"]
        return next(entry for entry in tree if entry["name"] == name)

    def stop(self) -> tuple[int, str]:
        """Ask the daemon to end, and return as `end` does."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()
