"""A daemon in a process of its own: its output is read, it gets real signals, and it never outlives its test."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import IO, Self

from tests.daemon.forge import Forked

TREES = "tests.daemon.trees"
DEADLINE = 20.0
RECORD = re.compile(r"(?m)^(?=\d{4}-\d\d-\d\d )")


class Program:
    """A Python process. `said` are the lines of its stdout, `log` is all of its stderr."""

    def __init__(self, process: subprocess.Popen[str] | Forked) -> None:
        self.process = process
        self.said: list[str] = []
        self.logged: list[str] = []
        self.changed = threading.Condition()
        self.running = 3
        self.ended_at = 0.0
        self.threads = [
            threading.Thread(target=self.read, args=(self.process.stdout, self.said)),
            threading.Thread(target=self.read, args=(self.process.stderr, self.logged)),
            threading.Thread(target=self.reap),
        ]
        for thread in self.threads:
            thread.start()

    def read(self, stream: IO[str] | None, lines: list[str]) -> None:
        assert stream is not None
        for line in stream:
            with self.changed:
                lines.append(line)
                self.changed.notify_all()
        self.over()

    def reap(self) -> None:
        self.process.wait()
        self.ended_at = monotonic()
        self.over()

    def over(self) -> None:
        with self.changed:
            self.running -= 1
            self.changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        for thread in self.threads:
            thread.join(DEADLINE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        if error is not None:
            error.add_note(f"said:\n{''.join(self.said)}\nlogged:\n{self.log}")

    @property
    def log(self) -> str:
        return "".join(self.logged)

    def records(self, text: str) -> list[str]:
        """The log records with this text, each with the traceback below it."""
        return [record for record in RECORD.split(self.log) if text in record]

    def wait(self, condition: Callable[[], object], within: float = DEADLINE) -> None:
        with self.changed:
            came = self.changed.wait_for(lambda: condition() or not self.running, within)
        assert came, f"not within {within} s"
        assert condition(), "the process has ended"

    def until_said(self, line: str) -> None:
        self.wait(lambda: f"{line}\n" in self.said)

    def until_logged(self, text: str) -> None:
        self.wait(lambda: text in self.log)

    def signal(self, number: int) -> None:
        self.signalled_at = monotonic()
        self.process.send_signal(number)

    def end(self, within: float = DEADLINE) -> int:
        """Wait for the end, and return the exit code."""
        self.wait(lambda: not self.running, within)
        assert self.process.returncode is not None
        return self.process.returncode

    def stop(self, number: int) -> int:
        """Send a signal, and return the exit code."""
        self.signal(number)
        return self.end()

    @property
    def seconds_to_end(self) -> float:
        """From the last signal to the end: no start of an interpreter is in it."""
        return self.ended_at - self.signalled_at


def command(*words: str, cwd: Path) -> Program:
    """`trouper ...`, from the start of its interpreter."""
    return Program(
        subprocess.Popen(
            [sys.executable, "-m", "trouper", *words],
            cwd=cwd,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    )


def run_tree(name: str, *options: str) -> Program:
    """`trouper run` of a tree in `trees.py`."""
    return Program(Forked("command", "run", f"{TREES}:{name}", *options))


def run_script(name: str, **options: float) -> Program:
    """A script that calls `trouper.run(tree, **options)`."""
    return Program(Forked("script", name, *(f"{key}={value}" for key, value in options.items())))


def run_code(source: str) -> Program:
    """A script."""
    return Program(Forked("code", source))
