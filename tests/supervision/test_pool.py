"""Pools: their specs, who gets a message, and how many workers there are, over flavours."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from threading import Thread
from typing import Any

import pytest

from tests.actors.stage import (
    FLAVOURS,
    Boom,
    Crash,
    Diary,
    Echo,
    Events,
    FlavourName,
    Gate,
    Host,
    Note,
    Number,
    ask,
    checkpoint,
    in_thread,
    nothing,
    offer,
    outcome,
    role,
    together,
    until,
)
from trouper import (
    ActorStopped,
    AskTimeout,
    Child,
    Daemon,
    DaemonFailed,
    DuplicateChild,
    Limit,
    Mailbox,
    MailboxFull,
    MessageTypeError,
    Pool,
    Ref,
    RestartLimitExceeded,
    Router,
    SelfAsk,
    SpecError,
    StartFailed,
    Terminated,
    UnknownPath,
    UsageError,
    child,
    current,
    one_for_one,
    pool,
    rest_for_one,
)
from trouper.actors.router import jump
from trouper.errors import Declined
from trouper.events import ActorEnded, ActorStarted, DeadLetter, Restarting
from trouper.supervision.describe import describe
from trouper.supervision.place import place

anyhow: Any = pool
"""For calls that a type checker refuses as well."""


def hand(flavour: FlavourName, seen: Diary, gate: Gate | None = None, **options: Any) -> Child[Any]:
    """A worker: it notes what it gets, with its number; it says where it is; the note "wait" has it wait at the gate.

    The note "leave" ends it normally; a gate holds up the start of its second life, too.
    """

    @role(flavour)
    class Hand:
        async def on_start(self) -> None:
            if gate is not None and current(self).generation > 1:
                await gate.passed()

        async def receive(self, message: Crash | Note | Echo) -> Any:
            me = current(self)
            number = int(me.path.rpartition("-")[2])
            if isinstance(message, Crash):
                raise Boom(message.text)
            if isinstance(message, Echo):
                return number, me.generation
            seen((number, message.text))
            if message.text == "wait":
                assert gate is not None
                await gate.passed()
            if message.text == "leave":
                me.stop()
            return None

    return child(Hand).options(**options)


def texts(seen: Diary) -> list[Any]:
    return sorted(text for _, text in seen.entries)


def shares(seen: Diary) -> Counter[int]:
    return Counter(number for number, _ in seen.entries)


def join(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join()


async def end(daemon: Daemon, workers: Pool[Any], number: int) -> None:
    """End one worker for good."""
    assert await daemon.terminate(f"/pool/hand-{number}") == "ok"
    cell = workers.ref.worker(number).cell
    await until(lambda: cell.state == "closed" and cell.refuses)


# -- as a value --------------------------------------------------------------------------------------------------------
def refusal(*args: Any, **kwargs: Any) -> tuple[str, str, str]:
    with pytest.raises(SpecError) as caught:
        anyhow(*args, **kwargs)
    return caught.value.path, caught.value.field, caught.value.allowed


def some(**options: Any) -> Child[Any]:
    return hand("trio", Diary(), **options)


@pytest.mark.parametrize("size", [-1, 1.0, "2", None, True])
def test_a_size_that_is_no_count_is_refused(size: object) -> None:
    assert refusal(some(), size=size) == ("pool()", "size", "an int of 0 or more (workers)")


def test_a_routing_that_does_not_exist_is_refused() -> None:
    told = ("pool(name='p')", "routing", "'round_robin' | 'hash'")
    assert refusal(some(), size=1, routing="random", name="p") == told


@pytest.mark.parametrize("key", [None, 3])
def test_a_hash_without_a_key_is_refused(key: object) -> None:
    assert refusal(some(), size=1, routing="hash", key=key)[1] == "key"


def test_a_key_without_a_hash_is_refused() -> None:
    told = ("pool()", "key", "none with routing='round_robin'; a key is for routing=\"hash\"")
    assert refusal(some(), size=1, key=len) == told


@pytest.mark.parametrize("limit", [3, "3 in 30"])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    assert refusal(some(), size=1, restarts=limit)[:2] == ("pool()", "restarts")


def test_a_name_that_is_no_step_of_a_path_is_refused() -> None:
    assert refusal(some(), size=1, name="a/b")[:2] == ("pool(name='a/b')", "name")


def test_what_is_no_child_cannot_be_a_template() -> None:
    assert refusal(int, size=1) == ("pool()", "template", "child(...); write child(int, ...)")
    assert refusal(one_for_one(some()), size=1) == ("pool()", "template", "child(...)")


@pytest.mark.parametrize(
    ("option", "value"),
    [("name", "w"), ("significant", True), ("optional", True)],
    ids=["name", "significant", "optional"],
)
def test_what_only_the_pool_can_be_is_refused_of_its_template(option: str, value: Any) -> None:
    template = some(restart="transient").options(**{option: value})
    assert refusal(template, size=1)[1] == f"{option} of the template"


def test_a_refused_pool_leaves_its_template_alone() -> None:
    template = some()
    refusal(template, size=1, restarts=3)
    assert type(template.ref) is Ref
    assert place(one_for_one(template)).children[0].path == "/hand"


def test_one_template_is_for_one_pool() -> None:
    template = some()
    pool(template, size=1)
    with pytest.raises(DuplicateChild, match="the template of a pool"):
        pool(template, size=1)


def test_a_template_stands_nowhere_else() -> None:
    template = some()
    workers = pool(template, size=1)
    for tree in (one_for_one(workers, template), one_for_one(template), one_for_one(template, workers)):
        with pytest.raises(DuplicateChild, match="the template of a pool"):
            place(tree)


def test_a_pool_stands_in_one_place_also_under_other_options() -> None:
    workers = pool(some(), size=1)
    with pytest.raises(DuplicateChild):
        place(one_for_one(workers, workers.options(name="other")))


def test_a_pool_has_the_options_of_a_supervisor_and_keeps_its_address() -> None:
    workers = pool(some(), size=2, restarts=Limit(1, within=2.0))
    other = workers.options(name="hands", restart="transient", shutdown=3.0, optional=True)
    assert isinstance(other, Pool)
    assert (other.name, other.restart, other.shutdown, other.limit) == ("hands", "transient", 3.0, Limit(1, within=2.0))
    assert other.ref is workers.ref
    with pytest.raises(SpecError, match="size"):
        workers.options(size=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_the_workers_are_called_after_their_class_with_numbers() -> None:
    tree = place(one_for_one(pool(some(), size=2), pool(some(), size=1), pool(some(), size=0, name="none")))
    paths = [node.path for node in tree.walk()]
    assert paths == ["/", "/pool", "/pool/hand-1", "/pool/hand-2", "/pool-2", "/pool-2/hand-1", "/none"]


def test_a_pool_and_its_address_name_themselves() -> None:
    workers = pool(some(), size=2, name="hands")
    assert repr(workers) == f"pool({workers.template!r}, size=2).options(name='hands')"
    assert repr(workers.ref).endswith("Hand: not in a running tree, size 2>")
    assert workers.ref.path is None
    assert workers.ref.size == 2


def test_a_pool_is_described_in_two_lines_however_large_it_is() -> None:
    workers = pool(some(), size=100, routing="hash", key=repr, restarts=Limit(2, within=9.0))
    lines = list(describe(place(one_for_one(workers))))
    assert lines[1] == "  pool: pool of 100, hash, 2 restarts in 9 s for each worker; permanent"
    assert lines[2].startswith("    each: Hand, trio, permanent; takes ")
    assert len(lines) == 3


# -- who gets a message ------------------------------------------------------------------------------------------------
def test_each_worker_has_its_turn(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    workers = pool(hand(flavour, seen), size=4)

    async def body(daemon: Daemon) -> None:
        for text in range(40):
            workers.ref.send(Note(text))
        await seen.until(40)

    host.run(one_for_one(workers), body)
    assert shares(seen) == {1: 10, 2: 10, 3: 10, 4: 10}
    assert texts(seen) == list(range(40))


def test_the_turns_are_fair_however_many_threads_send(flavour: FlavourName) -> None:
    seen = Diary()
    workers = pool(hand(flavour, seen), size=5)

    def send() -> None:
        for text in range(100):
            workers.ref.send(Note(text))

    async def body(daemon: Daemon) -> None:
        threads = [Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        await seen.until(800)
        await in_thread(join, threads)

    Host("trio").run(one_for_one(workers), body)
    assert shares(seen) == dict.fromkeys(range(1, 6), 160)


def test_the_turn_of_one_that_is_gone_is_used_up_so_that_the_others_share_alike(flavour: FlavourName) -> None:
    seen = Diary()
    workers = pool(hand(flavour, seen), size=4)

    async def body(daemon: Daemon) -> None:
        await end(daemon, workers, 2)
        for text in range(30):
            workers.ref.send(Note(text))
        await seen.until(30)

    Host("trio").run(one_for_one(workers), body)
    assert shares(seen) == {1: 10, 3: 10, 4: 10}


def first_letter(message: Note | Echo | Crash) -> str:
    return str(message.value if isinstance(message, Echo) else message.text)[0]


def test_one_key_goes_to_one_worker(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    workers = pool(hand(flavour, seen), size=3, routing="hash", key=first_letter)
    names = [f"{letter}{number}" for letter in "abcdefghijklmnop" for number in range(3)]

    async def body(daemon: Daemon) -> None:
        for name in names:
            workers.ref.send(Note(name))
        await seen.until(len(names))

    host.run(one_for_one(workers), body)
    owners = {(text[0], number) for number, text in seen.entries}
    assert len(owners) == 16
    assert shares(seen).keys() == {1, 2, 3}
    assert texts(seen) == sorted(names)


def test_the_keys_of_one_that_is_gone_go_to_the_others_and_no_other_key_moves(host: Host) -> None:
    workers = pool(some(), size=4, routing="hash", key=first_letter)
    letters = "abcdefghijklmnopqrstuvwxyz"

    async def owners() -> dict[str, int]:
        return {letter: (await workers.ref.ask(Echo(letter)))[0] for letter in letters}

    async def body(daemon: Daemon) -> None:
        before = await owners()
        await end(daemon, workers, 3)
        after = await owners()
        assert 3 in before.values()
        assert 3 not in after.values()
        assert {letter for letter in letters if before[letter] != after[letter]} == {
            letter for letter in letters if before[letter] == 3
        }

    host.run(one_for_one(workers), body)


def test_of_a_pool_that_grows_keys_move_to_the_new_worker_only() -> None:
    for size in range(1, 20):
        moved = 0
        for key in range(1000):
            before, after = jump(hash((key, 0)) & (1 << 64) - 1, size), jump(hash((key, 0)) & (1 << 64) - 1, size + 1)
            assert after in (before, size)
            moved += after != before
        assert abs(moved - 1000 / (size + 1)) < 100


@pytest.mark.parametrize("keys", [range(4000), [n / 16 for n in range(4000)], [f"k{n}" for n in range(4000)]])
def test_keys_are_spread_evenly_whatever_they_are(keys: Any) -> None:
    found = Counter(jump(hash((key, 0)) & (1 << 64) - 1, 8) for key in keys)
    assert all(400 < found[number] < 600 for number in range(8))


def test_what_the_workers_do_not_take_is_refused_in_the_sender_before_its_key_is_looked_for() -> None:
    workers = pool(some(), size=2, routing="hash", key=first_letter)
    anything: Any = workers.ref
    for call in (anything.send, anything.ask_sync, anything.offer_sync):
        with pytest.raises(MessageTypeError) as caught:
            call(Number())
        assert caught.value.ref is workers.ref
    with pytest.raises(MessageTypeError):
        anything.ask_sync(Note())


def test_a_key_that_fails_fails_the_sender() -> None:
    workers = pool(some(), size=2, routing="hash", key=first_letter)
    with pytest.raises(IndexError):
        workers.ref.send(Note(""))
    unhashable = anyhow(some(), size=2, routing="hash", key=lambda _: [])
    with pytest.raises(UsageError, match="allowed: something hashable"):
        unhashable.ref.send(Note("x"))


def test_the_address_of_the_template_is_that_of_the_pool(flavour: FlavourName, host: Host) -> None:
    """Also for methods that were bound before, and for what waits there already."""
    seen = Diary()
    template = hand(flavour, seen)
    send = template.ref.send
    ask_sync: Any = template.ref.ask_sync
    send(Note("before the pool"))
    workers = pool(template, size=2)
    assert template.ref is workers.ref
    assert isinstance(template.ref, Router)
    send(Note("before the daemon"))

    async def body(daemon: Daemon) -> None:
        send(Note("now"))
        template.ref.send(Note("again"))
        await seen.until(4)
        assert {(await in_thread(ask_sync, Echo()))[0] for _ in range(2)} == {1, 2}

    host.run(one_for_one(workers), body)
    assert shares(seen) == {1: 2, 2: 2}


def test_every_way_of_sending_goes_to_whoever_has_its_turn(flavour: FlavourName, host: Host) -> None:
    seen = Diary()
    workers = pool(hand(flavour, seen), size=3)

    async def body(daemon: Daemon) -> None:
        assert {(await ask(workers.ref, Echo()))[0] for _ in range(3)} == {1, 2, 3}
        asks: Any = workers.ref.ask_sync
        assert {(await in_thread(asks, Echo()))[0] for _ in range(3)} == {1, 2, 3}
        for text in range(3):
            await offer(workers.ref, Note(text))
        for text in range(3, 6):
            await in_thread(workers.ref.offer_sync, Note(text))
        await seen.until(6)

    host.run(one_for_one(workers), body)
    assert shares(seen) == {1: 2, 2: 2, 3: 2}


def test_an_ask_that_is_not_answered_in_time_names_the_pool(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate), size=1)

    async def body(daemon: Daemon) -> None:
        workers.ref.send(Note("wait"))
        with pytest.raises(AskTimeout, match=r"<Router .*Hand: /pool, size 1> did not answer"):
            await workers.ref.ask(Echo(), timeout=0.01)
        gate.open()

    host.run(one_for_one(workers), body)


def test_an_offer_waits_for_room_and_a_full_mailbox_rejects(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate, mailbox=Mailbox(1, overflow="reject")), size=2)

    async def body(daemon: Daemon) -> None:
        for text in ("wait", "wait"):
            workers.ref.send(Note(text))
        await seen.until(2)
        workers.ref.send(Note("waits in 1"))
        workers.ref.send(Note("waits in 2"))
        with pytest.raises(MailboxFull):
            workers.ref.send(Note("too many"))

        async def open_later() -> None:
            await turn_of_the_host()
            gate.open()

        await together(lambda: offer(workers.ref, Note("offered")), open_later)
        await seen.until(5)

    async def turn_of_the_host() -> None:
        second = workers.ref.worker(2)
        await until(lambda: second.cell.offers)

    host.run(one_for_one(workers), body)
    assert texts(seen) == ["offered", "wait", "wait", "waits in 1", "waits in 2"]


def test_a_pool_is_found_by_its_path_and_its_workers_are_watched_one_by_one(host: Host) -> None:
    @role("trio")
    class Watcher:
        async def receive(self, message: Note | Terminated) -> Any:
            assert isinstance(message, Note)
            current(self).watch(message.text)

    @role("trio")
    class Quiet:
        async def receive(self, message: Echo) -> None: ...

    crew, watcher = pool(child(Quiet), size=2), child(Watcher)

    async def body(daemon: Daemon) -> None:
        assert daemon.lookup(Quiet, "/pool") is crew.ref
        assert daemon.lookup(Quiet, "/pool/quiet-2") is crew.ref.worker(2)
        with pytest.raises(UsageError, match="and no pool's"):
            daemon.register("crew", crew.ref)
        ended = Events(daemon, ActorEnded)
        watcher.ref.send(Note(crew.ref))
        reason = (await ended.ended("/watcher")).reason
        assert "allowed: one of its workers, `ref.worker(number)`" in str(reason.cause)

    host.run(one_for_one(crew, watcher), body)


def test_one_worker_has_an_address_of_its_own(host: Host) -> None:
    workers = pool(some(), size=3)
    second = workers.ref.worker(2)
    for wrong in (0, 4, -1, "1"):
        with pytest.raises(UsageError, match="allowed: a number from 1 to 3"):
            workers.ref.worker(wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    async def body(daemon: Daemon) -> None:
        assert {(await second.ask(Echo()))[0] for _ in range(5)} == {2}
        assert second.path == "/pool/hand-2"
        assert workers.ref.path == "/pool"

    host.run(one_for_one(workers), body)


@pytest.mark.parametrize("routing", ["round_robin", "hash"])
def test_a_worker_that_asks_its_own_pool_is_answered_by_another_or_refused(
    flavour: FlavourName, host: Host, routing: str
) -> None:
    found: list[Any] = []

    @role(flavour)
    class Curious:
        async def receive(self, message: Number | Echo) -> Any:
            if isinstance(message, Number):
                return int(current(self).path[-1])
            return [await outcome(lambda: ask(message.value, Number(0))) for _ in range(4)]

    alone: Any = pool(child(Curious), size=1, name="alone")
    options: Any = {"key": lambda message: 0} if routing == "hash" else {}
    two: Any = anyhow(child(Curious), size=2, routing=routing, name="two", **options)

    async def body(daemon: Daemon) -> None:
        found.extend(await ask(alone.ref, Echo(alone.ref)))
        found.append(await ask(two.ref, Echo(two.ref)))

    host.run(one_for_one(alone, two), body)
    *own, others = found
    assert [type(answer) for answer in own] == [SelfAsk] * 4
    if routing == "hash":
        assert [type(answer) for answer in others] == [SelfAsk] * 4
    else:
        assert others in ([1] * 4, [2] * 4)


def test_without_a_worker_a_message_is_a_dead_letter_and_an_ask_fails(flavour: FlavourName, host: Host) -> None:
    workers, none = pool(hand(flavour, Diary()), size=2), pool(hand(flavour, Diary()), size=0, name="none")

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, DeadLetter)
        for number in (1, 2):
            await end(daemon, workers, number)
        for ref in (workers.ref, none.ref):
            ref.send(Note("lost"))
            await offer(ref, Note("lost too"))
            with pytest.raises(ActorStopped, match="has no worker"):
                await ref.ask(Echo())
        letters = events.of(DeadLetter)
        assert [(letter.path, type(letter.message)) for letter in letters] == [
            (path, kind) for path in ("/pool", "/none") for kind in (Note, Note, Echo)
        ]
        assert daemon.dead_letters == 6
        assert await daemon.resize("/none", 1) == "ok"
        assert await ask(none.ref, Echo()) == (1, 1)

    host.run(one_for_one(workers, none), body)


def test_without_a_worker_and_a_daemon_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    none = pool(some(), size=0)
    with caplog.at_level(logging.WARNING, "trouper"):
        none.ref.send(Note("lost"))
    assert "it has no worker: Note(text='lost')" in caplog.text
    with pytest.raises(ActorStopped):
        none.ref.ask_sync(Echo())


# -- up and down -------------------------------------------------------------------------------------------------------
def barrier(flavour: FlavourName, size: int, seen: Diary) -> Child[Any]:
    """A worker whose start, and whose stop, is not over before all of them have begun it."""

    @role(flavour)
    class Together:
        async def on_start(self) -> None:
            seen("+")
            await seen.until(size)

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("-")
            await seen.until(2 * size)

    return child(Together)


def test_workers_start_and_stop_side_by_side_and_the_boot_waits_for_all(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    async def body(daemon: Daemon) -> None:
        assert seen == ["+"] * 4
        assert [state for _, state in await daemon.children("/pool")] == ["running"] * 4

    host.run(one_for_one(pool(barrier(flavour, 4, seen), size=4)), body)
    assert seen == ["+"] * 4 + ["-"] * 4


def test_the_first_start_that_fails_fails_the_boot(flavour: FlavourName, host: Host) -> None:
    seen = Diary()

    @role(flavour)
    class Third:
        async def on_start(self) -> None:
            if current(self).path == "/crew/third-3":
                raise Boom("no")
            seen("+")

        async def receive(self, message: Note) -> None: ...

        async def on_stop(self, reason: Any) -> None:
            seen("-")

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(pool(child(Third), size=4, name="crew")), nothing)
    failed = caught.value.__cause__
    assert isinstance(failed, StartFailed)
    assert failed.path == "/crew/third-3"
    assert str(failed.__cause__) == "no"
    assert seen.entries.count("+") == seen.entries.count("-")


def test_one_that_declines_is_passed_over_and_what_it_was_sent_goes_to_the_others(
    flavour: FlavourName, host: Host
) -> None:
    seen = Diary()

    @role(flavour)
    class Shy:
        async def on_start(self) -> None:
            if current(self).path.endswith("-1"):
                raise Declined("not today")

        async def receive(self, message: Note) -> None:
            seen((int(current(self).path[-1]), message.text))

    workers = pool(child(Shy), size=3)
    for text in range(6):
        workers.ref.send(Note(text))

    async def body(daemon: Daemon) -> None:
        await seen.until(6)
        assert await daemon.children("/pool") == [("shy-2", "running"), ("shy-3", "running")]
        assert daemon.dead_letters == 0

    host.run(one_for_one(workers), body)
    assert texts(seen) == list(range(6))
    assert shares(seen).keys() == {2, 3}


def test_a_worker_that_crashes_is_restarted_alone_and_its_messages_wait(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate), size=3)

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded, ActorStarted, Restarting)
        workers.ref.worker(2).send(Crash())
        await events.ended("/pool/hand-2")
        for text in range(9):
            workers.ref.send(Note(text))
        await seen.until(6)
        assert shares(seen) == {1: 3, 3: 3}
        gate.open()
        await seen.until(9)
        assert shares(seen) == {1: 3, 2: 3, 3: 3}
        assert [(await ask(workers.ref, Echo()))[1] for _ in range(3)].count(2) == 1
        assert [event.path for event in events.of(Restarting)] == ["/pool/hand-2"]

    host.run(one_for_one(workers), body)


def test_each_worker_has_the_limit_for_itself_and_one_over_it_fails_the_pool(flavour: FlavourName, host: Host) -> None:
    workers = pool(hand(flavour, Diary(), backoff=None), size=3, restarts=Limit(1, within=60.0))

    async def body(daemon: Daemon) -> None:
        for number in (1, 2, 3):
            workers.ref.worker(number).send(Crash())
        for number in (1, 2, 3):
            assert await ask(workers.ref.worker(number), Echo()) == (number, 2)
        workers.ref.worker(2).send(Crash("once more"))
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(workers, restarts=Limit(0, within=60.0)), body)
    error: BaseException | None = caught.value.__cause__
    paths = []
    while isinstance(error, RestartLimitExceeded):
        paths.append(error.path)
        error = error.__cause__
    assert paths == ["/", "/pool/hand-2"]
    assert str(error) == "once more"


@pytest.mark.parametrize("drain", [False, True])
def test_mailboxes_survive_a_restart_of_the_pool(flavour: FlavourName, host: Host, drain: bool) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate, drain=drain), size=2, restarts=Limit(0, within=60.0))

    async def body(daemon: Daemon) -> None:
        events = Events(daemon, ActorEnded, ActorStarted)
        second = workers.ref.worker(2)
        second.send(Note("wait"))
        await seen.until(1)
        second.send(Note("later"))
        workers.ref.worker(1).send(Crash())
        await events.ended("/pool/hand-1")
        gate.open()
        await events.started("/pool/hand-2")
        await seen.until(2)
        assert await ask(second, Echo()) == (2, 2)
        assert daemon.dead_letters == 1  # that which it crashed over

    host.run(one_for_one(workers), body)
    assert seen == [(2, "wait"), (2, "later")]


def test_what_one_leaves_that_ends_for_good_goes_to_the_others(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate, restart="transient"), size=2)

    async def body(daemon: Daemon) -> None:
        first = workers.ref.worker(1)
        first.send(Note("wait"))
        await seen.until(1)
        first.send(Note("leave"))
        first.send(Note("left"))
        asked = in_thread(first.ask_sync, Echo())

        async def open_later() -> None:
            await until(lambda: len(first.box) == 3)
            gate.open()

        answers = await together(lambda: asked, open_later)
        assert answers[0] == (2, 1)
        await seen.until(3)
        assert daemon.dead_letters == 0
        assert [name for name, _ in await daemon.children("/pool")] == ["hand-2"]

    host.run(one_for_one(workers), body)
    assert seen == [(1, "wait"), (1, "leave"), (2, "left")]


def test_at_the_end_of_the_daemon_what_waits_is_a_dead_letter_once(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate), size=3)
    daemons: list[Daemon] = []

    async def body(daemon: Daemon) -> None:
        daemons.append(daemon)
        for _ in range(3):
            workers.ref.send(Note("wait"))
        await seen.until(3)
        for text in range(9):
            workers.ref.send(Note(text))
        daemon.stop()
        gate.open()

    host.run(one_for_one(workers), body)
    assert len(seen.entries) + daemons[0].dead_letters == 12
    workers.ref.send(Note("late"))
    assert len(seen.entries) + daemons[0].dead_letters == 13


# -- how many ----------------------------------------------------------------------------------------------------------
async def running(daemon: Daemon, *names: str) -> None:
    """Wait until exactly these run, and nothing else is under way."""
    while sorted(await daemon.children("/pool")) != [(name, "running") for name in names]:
        pass


def test_a_pool_grows_and_shrinks(flavour: FlavourName, host: Host) -> None:
    workers = pool(hand(flavour, Diary()), size=2)

    async def numbers() -> set[int]:
        return {(await ask(workers.ref, Echo()))[0] for _ in range(3 * workers.ref.size)}

    async def body(daemon: Daemon) -> None:
        assert await daemon.resize("/pool", 4) == "ok"
        assert await numbers() == {1, 2, 3, 4}
        assert await in_thread(daemon.resize_sync, "/pool", 1) == "ok"
        assert await numbers() == {1}
        await running(daemon, "hand-1")
        assert await daemon.resize("/pool", 3) == "ok"
        assert await numbers() == {1, 2, 3}
        assert daemon.dead_letters == 0

    host.run(one_for_one(workers), body)


def test_the_size_survives_a_restart_of_the_pool_and_ends_with_the_daemon(flavour: FlavourName, host: Host) -> None:
    first = hand(flavour, Diary()).options(name="first")
    workers = pool(hand(flavour, Diary()), size=3)
    tree = rest_for_one(first, workers)

    async def body(daemon: Daemon) -> None:
        assert await daemon.resize("/pool", 2) == "ok"
        await running(daemon, "hand-1", "hand-2")
        assert await daemon.resize("/pool", 4) == "ok"
        await running(daemon, *(f"hand-{number}" for number in (1, 2, 3, 4)))
        events = Events(daemon, ActorStarted)
        first.ref.send(Crash())
        await events.started("/pool/hand-4")
        await running(daemon, *(f"hand-{number}" for number in (1, 2, 3, 4)))

    host.run(tree, body)

    async def again(daemon: Daemon) -> None:
        await running(daemon, "hand-1", "hand-2", "hand-3")
        assert workers.ref.size == 3

    host.run(tree, again)


def test_what_removed_workers_have_queued_is_handled_by_them_if_they_drain_and_else_by_the_others(
    flavour: FlavourName, host: Host
) -> None:
    for drain in (True, False):
        seen, gate = Diary(), Gate()
        workers = pool(hand(flavour, seen, gate, drain=drain), size=2)

        async def body(daemon: Daemon, workers: Any = workers, seen: Diary = seen, gate: Gate = gate) -> None:
            second = workers.ref.worker(2)
            second.send(Note("wait"))
            await seen.until(1)
            for text in "abc":
                second.send(Note(text))
            assert await daemon.resize("/pool", 1) == "ok"
            workers.ref.send(Note("d"))
            await seen.until(lambda entries: (1, "d") in entries)
            gate.open()
            await seen.until(5)
            await running(daemon, "hand-1")
            assert daemon.dead_letters == 0

        host.run(one_for_one(workers), body)
        others = sorted(text for number, text in seen.entries if number == 1)
        assert others == (["d"] if drain else ["a", "b", "c", "d"])


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("routing", ["round_robin", "hash"])
def test_no_message_is_lost_while_the_size_changes(flavour: FlavourName, host: Host, drain: bool, routing: str) -> None:
    seen = Diary()
    options: Any = {"key": lambda message: message.text} if routing == "hash" else {}
    workers = anyhow(hand(flavour, seen, drain=drain), size=4, routing=routing, **options)
    each = 150

    def send(number: int) -> None:
        for text in range(each):
            workers.ref.send(Note(number * each + text))
            if text % 10 == 0:
                workers.ref.offer_sync(Note(-1 - number * each - text))

    async def body(daemon: Daemon) -> None:
        threads = [Thread(target=send, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for size in (1, 6, 2, 5, 1, 3, 1, 4):
            goal = len(seen.entries) + 20
            assert await daemon.resize("/pool", size) == "ok"
            while len(seen.entries) < goal and any(map(Thread.is_alive, threads)):
                await checkpoint()
        await in_thread(join, threads)
        await seen.until(3 * (each + each // 10))
        assert daemon.dead_letters == 0

    host.run(one_for_one(workers), body)
    expected = [*range(3 * each), *(-1 - text for text in range(3 * each) if text % each % 10 == 0)]
    assert texts(seen) == sorted(expected)


@pytest.mark.parametrize("drain", [True, False])
def test_one_that_is_wanted_again_while_it_stops_keeps_its_address_and_its_mailbox(
    flavour: FlavourName, host: Host, drain: bool
) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate, drain=drain), size=2)
    second = workers.ref.worker(2)

    async def body(daemon: Daemon) -> None:
        second.send(Note("wait"))
        await seen.until(1)
        second.send(Note("kept"))
        assert await daemon.resize("/pool", 1) == "ok"
        assert await daemon.resize("/pool", 2) == "ok"
        assert workers.ref.worker(2) is second
        gate.open()
        await seen.until(2)
        await running(daemon, "hand-1", "hand-2")
        assert await ask(second, Echo()) == (2, 2)
        assert daemon.dead_letters == 0

    host.run(one_for_one(workers), body)
    assert seen == [(2, "wait"), (2, "kept")]


def test_one_that_is_wanted_again_and_then_terminated_stays_down(flavour: FlavourName, host: Host) -> None:
    seen, gate = Diary(), Gate()
    workers = pool(hand(flavour, seen, gate), size=2)

    async def body(daemon: Daemon) -> None:
        workers.ref.worker(2).send(Note("wait"))
        await seen.until(1)
        assert await daemon.resize("/pool", 1) == "ok"
        assert await daemon.resize("/pool", 2) == "ok"
        assert await daemon.terminate("/pool/hand-2") == "ok"
        gate.open()
        await running(daemon, "hand-1")

    host.run(one_for_one(workers), body)


def test_a_resize_brings_back_those_that_had_ended_for_good(flavour: FlavourName, host: Host) -> None:
    workers = pool(hand(flavour, Diary()), size=3)
    second = workers.ref.worker(2)

    async def body(daemon: Daemon) -> None:
        await end(daemon, workers, 2)
        assert isinstance(await outcome(lambda: ask(second, Echo())), ActorStopped)
        assert await daemon.resize("/pool", 3) == "ok"
        await running(daemon, "hand-1", "hand-2", "hand-3")
        assert await ask(second, Echo()) == (2, 2)

    host.run(one_for_one(workers), body)


def test_resizes_at_once_come_to_one_of_their_sizes(flavour: FlavourName, host: Host) -> None:
    workers = pool(hand(flavour, Diary()), size=2)

    async def body(daemon: Daemon) -> None:
        sizes = (5, 1, 3, 0, 4, 2)
        answers = await together(*(partial(daemon.resize, "/pool", size) for size in sizes))
        assert answers == ["ok"] * 6
        assert workers.ref.size in sizes
        await running(daemon, *(f"hand-{number}" for number in range(1, workers.ref.size + 1)))

    host.run(one_for_one(workers), body)


def test_a_worker_that_came_by_a_resize_and_cannot_start_is_restarted_and_counted(
    flavour: FlavourName, host: Host
) -> None:
    @role(flavour, backoff=None)
    class Second:
        async def on_start(self) -> None:
            if current(self).path.endswith("-2"):
                raise Boom("no")

        async def receive(self, message: Note) -> None: ...

    workers = pool(child(Second), size=1, restarts=Limit(2, within=60.0))

    async def body(daemon: Daemon) -> None:
        assert await daemon.resize("/pool", 2) == "ok"
        await until(lambda: False)

    with pytest.raises(DaemonFailed) as caught:
        host.run(one_for_one(workers, restarts=Limit(0, within=60.0)), body)
    assert isinstance(caught.value.__cause__, RestartLimitExceeded)
    assert isinstance(caught.value.__cause__.__cause__, RestartLimitExceeded)
    assert caught.value.__cause__.__cause__.path == "/pool/second-2"


# -- what an operator is told ------------------------------------------------------------------------------------------
def test_what_is_no_pool_or_no_size_is_said(host: Host) -> None:
    workers = pool(some(), size=1)

    async def body(daemon: Daemon) -> None:
        assert await daemon.resize("/", 2) == "not_a_pool"
        with pytest.raises(UnknownPath):
            await daemon.resize("/nowhere", 2)
        with pytest.raises(SpecError, match=r"/pool: size: given -1, allowed: an int of 0 or more \(workers\)"):
            await daemon.resize("/pool", -1)
        assert await daemon.start(some(), under="/pool") == "simple_one_for_one"
        for request in (daemon.restart, daemon.delete, daemon.hold, daemon.release):
            assert await request("/pool/hand-1") == "simple_one_for_one"
        assert await daemon.terminate("/pool") == "ok"
        assert await daemon.resize("/pool", 2) == "shutting_down"
        workers.ref.send(Note("late"))
        await until(lambda: daemon.dead_letters == 1)
        assert await daemon.restart("/pool") == "ok"
        assert await ask(workers.ref, Echo()) == (1, 2)

    host.run(one_for_one(workers), body)


def test_a_pool_can_be_added_and_deleted_and_is_refused_where_it_stands_already(
    flavour: FlavourName, host: Host
) -> None:
    workers, none = pool(hand(flavour, Diary()), size=2), pool(hand(flavour, Diary()), size=0, name="none")

    async def body(daemon: Daemon) -> None:
        for spec in (workers, none):
            assert await daemon.start(spec) == "ok"
            with pytest.raises(DuplicateChild, match="that stands at /"):
                await daemon.start(spec.options(name="other"))
            with pytest.raises(DuplicateChild, match="the template of a pool"):
                await daemon.start(spec.template)
        assert {(await ask(workers.ref, Echo()))[0] for _ in range(2)} == {1, 2}
        assert await daemon.terminate("/pool") == "ok"
        assert await daemon.delete("/pool") == "ok"
        assert await daemon.start(workers.options(name="other")) == "ok"
        assert workers.ref.path == "/other"
        assert {(await ask(workers.ref, Echo()))[0] for _ in range(2)} == {1, 2}

    host.run(one_for_one(), body)


def test_a_child_that_runs_cannot_become_a_template(host: Host) -> None:
    alone = some()

    async def body(daemon: Daemon) -> None:
        with pytest.raises(DuplicateChild, match="a child that runs nowhere and never did"):
            pool(alone, size=1)

    host.run(alone, body)


def test_the_tree_shows_the_pool_and_its_workers(host: Host) -> None:
    workers = pool(some(), size=2, name="hands")

    async def body(daemon: Daemon) -> None:
        tree = await daemon.tree()
        found = tree.find("/hands")
        assert found is not None
        assert (found.kind, found.state, found.flavour) == ("pool", "running", None)
        assert [(node.name, node.kind) for node in found.children] == [("hand-1", "Hand"), ("hand-2", "Hand")]
        assert tree.status == "up"

    host.run(one_for_one(workers), body)


def test_a_pool_can_be_a_whole_tree_and_the_flavours_of_its_workers_are_theirs(host: Host) -> None:
    for flavour in FLAVOURS:
        workers = pool(hand(flavour, Diary()), size=2)

        async def body(daemon: Daemon, workers: Any = workers) -> None:
            assert await daemon.children() == [("hand-1", "running"), ("hand-2", "running")]
            assert await daemon.resize("/", 3) == "ok"
            assert {(await ask(workers.ref, Echo()))[0] for _ in range(3)} == {1, 2, 3}

        host.run(workers, body)
