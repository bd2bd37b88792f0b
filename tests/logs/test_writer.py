"""Where the log goes, and that nobody waits for it."""

from __future__ import annotations

import array
import io
import json
import logging
import logging.config
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from trouper import SpecError, setup_logging
from trouper.logs import layouts, targets, writer
from trouper.logs.targets import File, Journal, Stream
from trouper.logs.writer import Writer, flush_logs

log = logging.getLogger("tests.logs.writer")


@pytest.fixture(autouse=True)
def root() -> Iterator[logging.Logger]:
    """The root logger, which is as it was afterwards."""
    root, handlers, level = logging.root, logging.root.handlers[:], logging.root.level
    yield root
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
            if isinstance(handler, Writer):
                handler.target.close()
    root.setLevel(level)


class Slow:
    """A target that takes nothing until it is let."""

    def __init__(self) -> None:
        self.let, self.reached = Event(), Event()
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.reached.set()
        assert self.let.wait(20)
        self.written.append(data)

    def close(self) -> None: ...


class Broken(Slow):
    """A target that fails, until it does not."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def write(self, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.written.append(data)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("app", logging.INFO, "", 0, text, None, None)


def message_only(record: logging.LogRecord) -> bytes:
    return record.getMessage().encode()


def test_who_logs_does_not_wait_for_a_slow_target() -> None:
    target = Slow()
    handler = Writer(target, message_only)
    for number in range(100):
        handler.handle(record(str(number)))
    assert target.written == []
    target.let.set()
    handler.close()
    assert target.written == [str(number).encode() for number in range(100)]


def test_what_does_not_fit_is_counted_and_told_when_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LIMIT", 10)
    target = Slow()
    handler = Writer(target, message_only)
    handler.handle(record("first"))
    assert target.reached.wait(20)  # and nothing is queued
    for number in range(15):
        handler.handle(record(str(number)))
    target.let.set()
    handler.close()
    said = b"5 log records were dropped: what takes them is too slow"
    assert said in target.written
    assert [one for one in target.written if one != said] == [b"first", *(str(number).encode() for number in range(10))]


def test_flush_waits_until_all_is_written(root: logging.Logger) -> None:
    target = Slow()
    handler = Writer(target, message_only)
    root.addHandler(handler)
    handler.handle(record("a"))
    target.let.set()
    flush_logs()
    assert target.written == [b"a"]


def test_flush_waits_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "FLUSH", 0.01)
    target = Slow()
    handler = Writer(target, message_only)
    handler.handle(record("a"))
    handler.flush()
    assert target.written == []
    target.let.set()
    handler.close()


def test_after_its_close_records_are_written_at_once() -> None:
    target = Slow()
    target.let.set()
    handler = Writer(target, message_only)
    handler.close()
    handler.handle(record("last words"))
    assert target.written == [b"last words"]


def test_a_forked_process_writes_its_records_itself() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as out, os.fdopen(writing, "w", closefd=False) as stream:
        handler = Writer(Stream(stream), message_only)
        if os.fork() == 0:
            handler.handle(record("from the child"))
            os._exit(0)
        os.close(writing)
        assert out.read() == b"from the child"
    handler.close()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("No space for anything")])
def test_a_target_that_fails_is_told_once_and_tried_again(error: Exception, capfd: pytest.CaptureFixture[str]) -> None:
    target = Broken(error)
    handler = Writer(target, message_only)
    for text in "abc":
        handler.handle(record(text))
    handler.flush()
    target.error = None
    handler.handle(record("d"))
    handler.close()
    assert target.written == [b"d"]
    assert capfd.readouterr().err.count(str(error.args[-1])) == 1


def test_a_record_that_cannot_be_laid_out_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    target = Slow()
    target.let.set()
    handler = Writer(target, message_only)
    handler.handle(logging.LogRecord("app", logging.INFO, "", 0, "%d", ("no number",), None))
    handler.handle(record("next"))
    handler.close()
    assert target.written == [b"next"]
    assert "Logging error" in capsys.readouterr().err


def test_a_stream_that_is_closed_or_not_there_harms_nobody() -> None:
    Stream(None).write(b"nobody reads it")
    closed = io.StringIO()
    closed.close()
    with pytest.raises(OSError, match="closed"):
        Stream(closed).write(b"a")


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    file = File(path)
    file.write(b"after\n")
    file.close()
    assert path.read_text() == "before\nafter\n"


@pytest.mark.parametrize("made_anew", [True, False])
def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, made_anew: bool) -> None:
    path, moved = tmp_path / "log", tmp_path / "log.1"
    file = File(path)
    file.write(b"one\n")
    path.rename(moved)
    if made_anew:  # as logrotate's `create` does
        path.touch()
    file.write(b"two\n")
    file.close()
    assert (moved.read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_relative_path_is_of_the_directory_where_the_process_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = File(Path("log"))
    monkeypatch.chdir("/")
    (tmp_path / "log").unlink()
    file.write(b"here\n")
    file.close()
    assert (tmp_path / "log").read_text() == "here\n"


# -- the journal -------------------------------------------------------------------------------------------------------


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "journal"))
        server.settimeout(20)
        yield server


def test_the_journal_gets_a_datagram(journald: socket.socket) -> None:
    journal = Journal(journald.getsockname())
    journal.write(b"MESSAGE=hello\n")
    journal.close()
    assert journald.recv(1 << 16) == b"MESSAGE=hello\n"


def test_what_is_too_large_for_a_datagram_comes_as_a_sealed_file(journald: socket.socket) -> None:
    large = b"MESSAGE=" + b"x" * (1 << 22) + b"\n"
    journal = Journal(journald.getsockname())
    journal.write(large)
    journal.close()
    data, ancillary, _, _ = journald.recvmsg(1 << 16, socket.CMSG_SPACE(4))
    assert data == b""
    [(_, _, packed)] = ancillary
    [fd] = array.array("i", packed[:4])
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    assert os.pread(fd, 1 << 23, 0) == large
    os.close(fd)


def test_a_journald_that_was_started_anew_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as first:
        first.bind(str(path))
        journal = Journal(str(path))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        journal.write(b"lost")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind(str(path))
        second.settimeout(20)
        journal.write(b"MESSAGE=found\n")
        assert second.recv(1 << 16) == b"MESSAGE=found\n"
    journal.close()


# -- setup_logging -----------------------------------------------------------------------------------------------------


def test_records_of_all_loggers_go_to_the_target_from_the_level_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    setup_logging("warning", target=path)
    log.info("too quiet")
    log.warning("loud")
    flush_logs()
    assert path.read_text().endswith(" WARNING  tests.logs.writer: loud\n")
    assert "too quiet" not in path.read_text()


def test_the_layout_may_be_json(tmp_path: Path) -> None:
    setup_logging("debug", layout="json", target=str(tmp_path / "log"))
    log.debug("hello")
    flush_logs()
    [line] = (tmp_path / "log").read_text().splitlines()
    assert json.loads(line)["message"] == "hello"


def test_stderr_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stderr := io.StringIO())
    setup_logging()
    log.info("hello")
    flush_logs()
    assert stderr.getvalue().endswith("hello\n")


def test_the_journal_gets_fields(journald: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.Journal.__init__, "__defaults__", (journald.getsockname(),))
    setup_logging(target="journal")
    log.info("hello")
    assert b"MESSAGE=hello\nPRIORITY=6\n" in journald.recv(1 << 16)


def test_a_second_call_replaces_the_first_and_leaves_the_handlers_of_others(
    tmp_path: Path, root: logging.Logger
) -> None:
    root.addHandler(other := logging.NullHandler())
    setup_logging(target=tmp_path / "one")
    setup_logging(target=tmp_path / "two")
    log.warning("hello")
    flush_logs()
    assert (tmp_path / "one").read_text() == ""
    assert (tmp_path / "two").read_text().endswith("hello\n")
    assert other in root.handlers


def test_a_call_while_a_target_hangs_leaves_it_open_until_all_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: logging.Logger
) -> None:
    monkeypatch.setattr(writer, "FLUSH", 0.01)
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    setup_logging(target=tmp_path / "fifo")
    for _ in range(20):
        log.warning("a" * 10_000)
    setup_logging(target=tmp_path / "file")
    os.set_blocking(reading, True)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read().count(b"a" * 10_000 + b"\n") == 20  # to its end: it is closed, too


def test_a_file_that_is_closed_is_nobody_elses(tmp_path: Path) -> None:
    file = File(tmp_path / "log")
    file.close()
    with (tmp_path / "other").open("wb") as other:  # it has the number of the first one now
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.write(b"late")
        other.write(b"its own")
    assert (tmp_path / "other").read_bytes() == b"its own"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"level": "loud"}, "the log: level: given 'loud', allowed: debug, info, warning, error, critical"),
        ({"layout": "xml"}, "the log: layout: given 'xml', allowed: text, json"),
        ({"target": "/nowhere/log"}, "No such file or directory: '/nowhere/log'"),
        ({"target": "/"}, "allowed: stderr, journal, or a file that can be written"),
        ({"target": 42}, "the log: target: given 42"),
    ],
)
def test_what_cannot_be_is_refused(options: Any, text: str, root: logging.Logger) -> None:
    before = root.handlers[:]
    with pytest.raises(SpecError) as refused:
        setup_logging(**options)
    assert text in str(refused.value)
    assert root.handlers == before


def test_a_journal_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets.Journal.__init__, "__defaults__", ("/nowhere/journal",))
    with pytest.raises(SpecError, match="the log: target: given journal"):
        setup_logging(target="journal")


def test_a_configuration_of_ones_own_takes_the_filter(tmp_path: Path) -> None:
    own = logging.getLogger("tests.logs.own")
    logging.config.dictConfig(
        {
            "version": 1,
            "incremental": False,
            "disable_existing_loggers": False,
            "filters": {"actor": {"()": "trouper.ActorFilter"}},
            "formatters": {"own": {"format": "%(path)s %(generation)d %(lane)s %(message)s"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "filename": str(tmp_path / "log"),
                    "formatter": "own",
                    "filters": ["actor"],
                }
            },
            "loggers": {"tests.logs.own": {"handlers": ["file"], "level": "INFO"}},
        }
    )
    own.info("hello")
    for handler in own.handlers[:]:
        own.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text() == "- 0 - hello\n"


def test_the_usual_attributes_of_a_record_are_no_extras() -> None:
    made = record("hello")
    made.__dict__.update(message="hello", asctime="now", taskName=None, mine=1)
    assert layouts.extra_of(made) == {"mine": 1}
