"""Listening sockets: by whom they are made, who gets which, and that no client is refused while actors come and go."""

from __future__ import annotations

import os
import socket
from ast import literal_eval
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.actors.stage import Boom, Crash, Diary, FlavourName, Host, Note, in_thread, nothing, role
from tests.daemon.program import run_code
from trouper import (
    Daemon,
    DaemonFailed,
    Listener,
    NotRunning,
    SpecError,
    UsageError,
    actor,
    child,
    listener,
    one_for_one,
    pool,
)
from trouper.daemon import listeners
from trouper.daemon.listeners import Sockets, passed_in

LOCAL = "127.0.0.1:0"


def opened(wanted: Listener, host: Host, flavour: FlavourName = "trio") -> Any:
    """What `wanted.open()` gives in an actor: its socket, or the error that ended the boot."""

    @role(flavour)
    class Opening:
        http: Listener

        async def on_start(self) -> None:
            sockets.append(self.http.open())

        async def receive(self, message: Note) -> None: ...

    sockets: list[socket.socket] = []
    try:
        host.run(child(Opening, wanted), nothing)
    except DaemonFailed as failed:
        return getattr(failed.__cause__, "__cause__", None)
    return sockets[0]


# -- bound here --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bind", "family"),
    [
        (LOCAL, socket.AF_INET),
        ("[::1]:0", socket.AF_INET6),
        (":0", socket.AF_INET6),
        ("{path}/app.sock", socket.AF_UNIX),
        ("@trouper-test-{pid}", socket.AF_UNIX),
    ],
)
@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_an_address_is_bound_once_a_daemon_and_served_over_restarts(
    bind: str, family: int, kind: Any, flavour: FlavourName, tmp_path: Path
) -> None:
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")

    @role(flavour)
    class Opening:
        http: Listener

        async def on_start(self) -> None:
            seen(self.http.open())

        async def receive(self, message: Crash) -> None:
            raise Boom

    seen = Diary()
    wanted = listener("http", bind=bind.format(path=tmp_path, pid=f"{os.getpid()}-{kind}"), kind=kind)
    opening = child(Opening, wanted)

    async def body(daemon: Daemon) -> None:
        opening.ref.send(Crash())
        first, second = await seen.until(2)
        assert first.fileno() != second.fileno()
        assert first.getsockname() == second.getsockname()
        assert {first.family, second.family} == {family}
        assert (first.gettimeout() is None) is (flavour == "threading")
        assert not first.get_inheritable()
        first.close()
        with socket.socket(family, first_type := second.type) as client:
            client.settimeout(20)
            if first_type == socket.SOCK_STREAM:
                client.connect(second.getsockname())
                await in_thread(serve, second)
                assert client.recv(5) == b"hello"
            else:
                client.sendto(b"hello", second.getsockname())
                second.settimeout(20)
                assert await in_thread(second.recv, 5) == b"hello"
        second.close()

    Host("trio").run(opening, body)


def serve(sock: socket.socket) -> None:
    sock.settimeout(20)
    connection, _ = sock.accept()
    with connection:
        connection.send(b"hello")


def test_a_client_that_connects_while_the_actor_is_down_is_served_by_the_next_life(host: Host) -> None:
    @role("trio")
    class Serving:
        http: Listener

        async def on_start(self) -> None:
            sockets(self.http.open())

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: object) -> None:
            sockets.entries[-1].close()

    sockets = Diary()

    async def body(daemon: Daemon) -> None:
        address = sockets.entries[0].getsockname()
        await daemon.terminate("/serving")
        with socket.create_connection(address, timeout=20) as client:
            await daemon.restart("/serving")
            await in_thread(serve, sockets.entries[1])
            assert client.recv(5) == b"hello"

    host.run(one_for_one(child(Serving, listener("http", bind=LOCAL))), body)


def test_workers_of_a_pool_share_one_socket(host: Host) -> None:
    @actor(flavour="threading")
    class Worker:
        http: Listener

        def on_start(self) -> None:
            with self.http.open() as sock:
                seen(sock.getsockname())

        def receive(self, message: Note) -> None: ...

    seen = Diary()
    host.run(pool(child(Worker, listener("http", bind=LOCAL)), size=3, name="workers"), nothing)
    assert len(seen.entries) == 3
    assert len(set(seen.entries)) == 1


def test_at_the_end_of_the_daemon_its_sockets_are_closed_and_their_files_removed(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    sock = opened(listener("http", bind=str(path)), host)
    assert not path.exists()
    sock.close()


def test_a_file_that_another_one_put_there_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    sockets = Sockets({})
    sockets.open(listener("http", bind=str(path)))[0].close()
    path.unlink()
    path.touch()
    sockets.close()
    assert path.exists()


def test_a_socket_file_that_nobody_listens_at_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX) as before:
        before.bind(str(path))
    sockets = Sockets({})
    sockets.open(listener("http", bind=str(path)))[0].close()
    sockets.close()


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_a_socket_file_that_somebody_listens_at_is_not_taken_away(tmp_path: Path, host: Host, kind: Any) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX, listeners.KINDS[kind]) as other:
        other.bind(str(path))
        if kind == "stream":
            other.listen(0)
            with socket.socket(socket.AF_UNIX) as waiting:  # there is no room for another one
                waiting.connect(str(path))
                error = opened(listener("http", bind=str(path), kind=kind), host)
        else:
            error = opened(listener("http", bind=str(path), kind=kind), host)
    assert isinstance(error, OSError)
    [note] = error.__notes__
    assert note.startswith(f"listener('http', bind='{path}'")
    assert note.endswith(") is bound here: systemd passed nothing")
    assert path.exists()


def test_a_file_that_is_no_socket_is_not_taken_away(tmp_path: Path, host: Host) -> None:
    (tmp_path / "data").write_text("dear")
    assert isinstance(opened(listener("http", bind=str(tmp_path / "data")), host), OSError)
    assert (tmp_path / "data").read_text() == "dear"


def test_after_the_end_of_the_daemon_nothing_is_bound_any_more() -> None:
    sockets = Sockets({})
    sockets.close()
    with pytest.raises(NotRunning, match="opened when its daemon is over"):
        sockets.open(listener("http", bind=LOCAL))


def test_a_listener_that_nobody_opens_in_an_actor_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"listener\('http', bind='127.0.0.1:0'\): opened by nobody; allowed: an actor"
    ):
        listener("http", bind=LOCAL).open()


# -- passed by systemd -------------------------------------------------------------------------------------------------


def passing(
    names: str | None, *kinds: str, pid: int | None = None, together: bool = False, **wanted: Any
) -> tuple[Any, Any]:
    """What was passed to a process, and what an actor in it sees of a listener: addresses, or an error."""
    code = f"from tests.daemon.passed import serve\nserve({kinds!r}, {names!r}, {pid!r}, {together!r}, {wanted!r})"
    with run_code(code) as program:
        assert program.end() == 0
        passed, seen, inherited, environment = program.said
    assert (inherited, environment) == ("[]\n" if pid is None else "[3]\n", "[]\n")
    return literal_eval(passed), literal_eval(seen) if seen.startswith("[") else seen


def test_what_systemd_passed_is_opened_by_its_name_and_no_child_gets_anything_of_it() -> None:
    passed, seen = passing("admin:web", "listening", "listening", name="web", bind="127.0.0.1:1")
    assert seen == passed[1:]


def test_several_sockets_of_one_name_are_opened_together() -> None:
    passed, seen = passing("web:admin:web", "listening", "listening", "listening", together=True, name="web")
    assert seen == [passed[0], passed[2]]
    _, error = passing("web:web", "listening", "listening", name="web")
    assert error == "UsageError: listener('web'): systemd passed 2 sockets of this name; use open_all()\n"


def test_sockets_without_a_name_are_unknown() -> None:
    passed, seen = passing(None, "listening", name="unknown")
    assert seen == passed


def test_a_name_that_was_not_passed_is_an_error_that_lists_those_that_were() -> None:
    _, error = passing("admin:metrics", "listening", "listening", name="web")
    assert error == (
        "SpecError: listener('web'): name: given 'web', and systemd passed admin, metrics, allowed:"
        " the FileDescriptorName= of a socket unit, or an address, bind=\n"
    )


def test_a_name_that_was_not_passed_is_bound_if_it_has_an_address() -> None:
    passed, [seen] = passing("admin", "listening", name="web", bind=LOCAL)
    assert seen[0] == "127.0.0.1"
    assert seen not in passed


def test_what_was_passed_to_another_process_is_not_taken() -> None:
    _, error = passing("web", "listening", pid=1, name="web")
    assert "systemd passed nothing" in error


@pytest.mark.parametrize(
    ("passed", "kind", "given"),
    [
        ("datagram", "stream", "a datagram"),
        ("listening", "datagram", "a stream"),
        ("connected", "stream", "a stream that does not listen"),
        ("file", "stream", "a file that is no socket"),
    ],
)
def test_another_kind_of_socket_is_refused(passed: str, kind: str, given: str) -> None:
    _, error = passing("web", passed, name="web", kind=kind)
    assert f"kind: given {given} from systemd, file descriptor 3, allowed: a {kind}: Listen" in error


def test_a_datagram_socket_may_be_passed() -> None:
    passed, seen = passing("dns", "datagram", name="dns", kind="datagram")
    assert seen == passed


@pytest.mark.parametrize("count", ["", "none", "-1", "0"])
def test_a_count_that_is_none_passes_nothing(count: str) -> None:
    assert passed_in({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": "web"}) == {}


def test_a_count_of_more_than_is_open_is_refused_by_name() -> None:
    last = os.dup(0)
    os.close(last)  # the number is free, and all up to it may be taken
    with pytest.raises(SpecError, match=r"LISTEN_FDS: given \d+, and file descriptor \d+ is not open, allowed: "):
        passed_in({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(last + 1)})


# -- the value ---------------------------------------------------------------------------------------------------------


def test_a_listener_is_a_value() -> None:
    web = listener("web", bind=LOCAL)
    assert web == listener("web", bind=LOCAL)
    assert web != listener("web")
    assert len({web, listener("web", bind=LOCAL)}) == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        web.name = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert repr(listener("dns", bind="@dns", kind="datagram")) == "listener('dns', bind='@dns', kind='datagram')"


@pytest.mark.parametrize(
    "bind",
    [
        *("", "localhost:80", "80", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "[127.0.0.1]:80", "@"),
        *("a/b", "[::1]", "127.0.0.1:80 ", "/a\0b", 80, b"/run/x", "127.0.0.1:٣"),
    ],
)
def test_an_address_that_is_none_is_refused_with_what_is_allowed(bind: Any) -> None:
    with pytest.raises(SpecError, match=r"listener\('http'\): bind: given .*, allowed: 127.0.0.1:8080, "):
        listener("http", bind=bind)


@pytest.mark.parametrize("name", ["", "a:b", "a\n", 42, None])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(SpecError, match="listener: name: given"):
        listener(name)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match=r"kind: given 'raw', allowed: stream or datagram"):
        listener("http", kind="raw")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
