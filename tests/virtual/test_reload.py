"""Reloads in virtual time: whose turn it is, what waits for what, and what becomes of one that fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.actors.stage import Boom, Diary, FlavourName, Note, here, role
from tests.virtual.cast import HAIR, Trials, ends, nap, play, starts, state, whats
from trouper import (
    DaemonFailed,
    DaemonReloaded,
    DaemonReloading,
    Declined,
    Inbox,
    Reason,
    ReloadTimeout,
    Request,
    Stopping,
    SyncInbox,
    UsageError,
    actor,
    child,
    current,
    one_for_all,
    one_for_one,
    pool,
)
from trouper.events import ActorEnded, DaemonStopping
from trouper.lanes.slot import Slot, in_event_loop
from trouper.testing import Decline, Fail, Fine, Hang, Script, Sleep, Trial

pytestmark = pytest.mark.once


def asked(t: Trial) -> Any:
    """A reload that is under way; the slot for its answer."""
    return t.daemon._reload()


def now(me: Any) -> float:
    return current(me).daemon.world.clock()


class Which(Request[float]):
    """When did it reload last?"""


# -- order -------------------------------------------------------------------------------------------------------------
def test_all_that_have_it_reload_in_start_order_and_one_after_the_other(trial: Trials, flavour: FlavourName) -> None:
    told = Diary()

    @role(flavour)
    class Reloads:
        async def receive(self, message: Note) -> None: ...

        async def on_reload(self) -> None:
            told((now(self), current(self).path))
            await nap(self, 1)

    @role(flavour, accepts=Note)
    class Spawns(Reloads):
        async def on_start(self) -> None:
            current(self).spawn(child(Reloads).options(name="first"))
            current(self).spawn(child(Reloads).options(name="second"))

    @role(flavour)
    class Has:
        async def receive(self, message: Note) -> None: ...

    tree = one_for_one(
        child(Spawns),
        one_for_all(child(Reloads), child(Has), pool(child(Reloads), size=2), name="group"),
        child(Reloads).options(name="last"),
    )
    with trial(tree) as t:
        t.settle()
        assert t.daemon.reload_sync() == ()
        assert told == [
            (0, "/spawns"),
            (1, "/spawns/first"),
            (2, "/spawns/second"),
            (3, "/group/reloads"),
            (4, "/group/pool/reloads-1"),
            (5, "/group/pool/reloads-2"),
            (6, "/last"),
        ]
        assert t.now == 7
        assert t.events_of(DaemonReloading) == [DaemonReloading()]
        assert t.events_of(DaemonReloaded) == [DaemonReloaded(7.0, ())]
        assert ends(t) == []


def test_an_actor_finishes_its_message_reloads_and_then_takes_the_next(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, Note))) as t:
        script.do(Sleep(3))
        script.ref.send(Note("next"))
        script.on_reload(Sleep(2))
        t.settle()
        answer = asked(t)
        t.settle()
        assert whats(script)[2:] == ["handling"]
        t.advance(3)
        assert whats(script)[3:] == ["handled", "reloading"]
        t.advance(2)
        assert answer.take() == ()
        assert whats(script)[5:] == ["reloaded", "handling", "handled"]
        assert t.now == 5


def test_a_message_after_the_reload_is_handled_as_ever(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, Note))) as t:
        for _ in range(3):
            assert t.daemon.reload_sync() == ()
            script.ref.send(Note())
            t.settle()
        assert whats(script)[2:] == 3 * ["reloading", "reloaded", "handling", "handled"]


def test_a_handler_that_is_a_plain_function_is_not_in_its_way(trial: Trials, loop_flavour: FlavourName) -> None:
    @actor(flavour=loop_flavour, accepts=Which)
    class Plain:
        at = 0.0

        def receive(self, message: Which) -> float:
            return self.at

        async def on_reload(self) -> None:
            await current(self).sleep(2)
            self.at = now(self)

    plain = child(Plain)
    with trial(plain) as t:
        answer = asked(t)
        t.advance(1)
        assert t.ask(plain.ref, Which()) == 2.0
        assert answer.done
        assert t.now == 2


# -- those with a loop of their own ------------------------------------------------------------------------------------
def test_an_async_run_goes_on_beside_the_reload(trial: Trials, loop_flavour: FlavourName) -> None:
    told = Diary()

    @actor(flavour=loop_flavour)
    class Runs:
        async def run(self, inbox: Inbox[Note]) -> None:
            async for message in inbox:
                told((now(self), message.text))

        async def on_reload(self) -> None:
            told((now(self), "reloads"))
            await current(self).sleep(2)
            told((now(self), "has reloaded"))

    runs = child(Runs)
    with trial(runs) as t:
        answer = asked(t)
        t.advance(1)
        runs.ref.send(Note("meanwhile"))
        t.advance(1)
        assert answer.take() == ()
        assert told == [(0, "reloads"), (1, "meanwhile"), (2, "has reloaded")]


def test_a_reload_beside_run_may_ask_its_own_actor(trial: Trials, loop_flavour: FlavourName) -> None:
    @actor(flavour=loop_flavour)
    class Runs:
        async def run(self, inbox: Inbox[Which]) -> None:
            async for request in inbox:
                current(self).reply_to(request)(1.0)

        async def on_reload(self) -> None:
            assert await current(self).self_ref.ask(Which()) == 1.0

    with trial(child(Runs)) as t:
        assert t.daemon.reload_sync() == ()
        assert ends(t) == []


@pytest.mark.parametrize("rests_in", ["get", "get with a timeout", "ticks", "sleep"])
def test_a_run_in_a_thread_reloads_in_that_thread_where_it_rests(trial: Trials, rests_in: str) -> None:
    told = Diary()

    @actor(flavour="threading")
    class Runs:
        def run(self, inbox: SyncInbox[Note]) -> None:
            told(here())
            if rests_in == "get":
                for message in inbox:
                    told((now(self), message.text))
            elif rests_in == "ticks":
                for _ in inbox.ticks(5):
                    told((now(self), "tick"))
            elif rests_in == "sleep":
                current(self).sleep_sync(5)
                told((now(self), "slept"))
                inbox.get()
            else:
                with pytest.raises(TimeoutError):
                    inbox.get(timeout=5)
                told((now(self), "nothing came"))
                inbox.get()

        def on_reload(self) -> None:
            told((now(self), here()))

    runs = child(Runs)
    with trial(runs) as t:
        t.advance(1)
        assert t.daemon.reload_sync() == ()
        t.advance(HAIR)
        assert t.now == 1 + HAIR
        if rests_in == "get":
            runs.ref.send(Note("and on"))
        t.advance(4)
        thread, *rest = told.entries
        assert (1, thread) in rest
        rest.remove((1, thread))
        assert (
            rest
            == {
                "get": [(1 + HAIR, "and on")],
                "get with a timeout": [(5, "nothing came")],
                "ticks": [(0, "tick"), (5, "tick")],
                "sleep": [(5, "slept")],
            }[rests_in]
        )


def test_messages_that_wait_do_not_keep_a_run_in_a_thread_from_reloading(trial: Trials) -> None:
    told = Diary()

    @actor(flavour="threading")
    class Runs:
        def run(self, inbox: SyncInbox[Note]) -> None:
            for message in inbox:
                told(message.text)
                if message.text == "long":
                    slot.wait_sync()

        def on_reload(self) -> None:
            told("reloads")

    script = Script()
    slot = script.hang()
    runs = child(Runs)
    with trial(runs) as t:
        for text in ("long", "next", "last"):
            runs.ref.send(Note(text))
        t.settle()
        answer = asked(t)
        t.settle()
        assert told == ["long"]
        slot.put(None)
        t.settle()
        assert told == ["long", "reloads", "next", "last"]
        assert answer.take() == ()


def test_a_run_in_a_thread_does_not_reload_in_the_middle_of_an_ask(trial: Trials) -> None:
    told = Diary()

    @actor(flavour="trio")
    class Answers:
        async def receive(self, message: Which) -> float:
            await current(self).sleep(4)
            return 1.0

    @actor(flavour="threading")
    class Asks:
        def run(self, inbox: SyncInbox[Note]) -> None:
            answers.ref.ask_sync(Which())
            told((now(self), "answered"))
            inbox.get()

        def on_reload(self) -> None:
            told((now(self), "reloads"))

    answers = child(Answers)
    with trial(one_for_one(answers, child(Asks))) as t:
        assert t.daemon.reload_sync() == ()
        assert told == [(4, "answered"), (4, "reloads")]


# -- failing -----------------------------------------------------------------------------------------------------------
def test_one_that_fails_crashes_alone_and_the_others_reload(
    trial: Trials, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    script, other = Script(), Script()
    script.on_reload(Fail(error := Boom("no such file")))
    caplog.set_level(logging.INFO)
    with trial(one_for_one(play(script, flavour, Note), play(other, flavour, name="other"))) as t:
        script.ref.send(Note("before"))
        assert t.daemon.reload_sync() == ("/it",)
        t.settle()
        [end] = t.events_of(ActorEnded)
        assert (end.path, end.reason) == ("/it", Reason("crashed", error))
        assert starts(t) == ["/it", "/other", "/it"]
        assert whats(other)[2:] == ["reloading", "reloaded"]
        assert whats(script)[-4:] == ["reloading", "stopping", "starting", "started"] or "stopped" in whats(script)
        assert t.events_of(DaemonReloaded) == [DaemonReloaded(0.0, ("/it",))]
        assert t.daemon.reload_sync() == ()
    assert "reloaded 1 of 2 actors after 0 s; not /it" in caplog.text


def test_one_that_fails_beside_run_ends_that_at_once(trial: Trials, loop_flavour: FlavourName) -> None:
    @actor(flavour=loop_flavour)
    class Runs:
        async def run(self) -> None:
            await current(self).sleep(1000)

        async def on_reload(self) -> None:
            raise Boom

    with trial(child(Runs)) as t:
        assert t.daemon.reload_sync() == ("/runs",)
        t.settle()
        assert ends(t) == [("/runs", "crashed")]
        assert state(t, "/runs") == "running"
        assert t.now == 0


@pytest.mark.parametrize("rests_in", ["get", "ticks", "sleep"])
def test_one_that_fails_where_a_thread_rests_ends_that_at_once(trial: Trials, rests_in: str) -> None:
    told = Diary()

    @actor(flavour="threading")
    class Runs:
        def run(self, inbox: SyncInbox[Note]) -> None:
            try:
                if rests_in == "get":
                    inbox.get()
                elif rests_in == "ticks":
                    for _ in inbox.ticks(1000):
                        pass
                else:
                    current(self).sleep_sync(1000)
            finally:
                told("run is over")

        def on_reload(self) -> None:
            raise Boom

    with trial(child(Runs)) as t:
        t.settle()
        assert t.daemon.reload_sync() == ("/runs",)
        t.settle()
        assert ends(t) == [("/runs", "crashed")]
        assert told == ["run is over"]
        assert state(t, "/runs") == "running"
        assert t.now == 0


def test_one_that_takes_too_long_is_killed_at_its_timeout(trial: Trials, flavour: FlavourName) -> None:
    script, other = Script(), Script()
    script.on_reload(Sleep(7 - HAIR), Hang())
    tree = one_for_one(play(script, flavour, reload_timeout=7.0), play(other, flavour, name="other"))
    with trial(tree) as t:
        assert t.daemon.reload_sync() == ()
        assert t.now == 7 - HAIR
        assert t.daemon.reload_sync() == ("/it",)
        assert t.now == 14 - HAIR
        t.settle()
        [end] = t.events_of(ActorEnded)
        assert end.reason.kind == "timeout"
        assert isinstance(end.reason.cause, ReloadTimeout)
        assert str(end.reason.cause) == "/it: the reload took longer than 7 s"
        assert state(t, "/it") == "running"
        assert whats(other)[2:] == 2 * ["reloading", "reloaded"]


def test_one_that_takes_too_long_beside_run_is_killed_at_its_timeout(trial: Trials, loop_flavour: FlavourName) -> None:
    @actor(flavour=loop_flavour, reload_timeout=7.0)
    class Runs:
        async def run(self) -> None:
            await current(self).sleep(1e6)

        async def on_reload(self) -> None:
            await current(self).sleep(1e6)

    with trial(child(Runs)) as t:
        assert t.daemon.reload_sync() == ("/runs",)
        assert t.now == 7
        t.settle()
        [end] = t.events_of(ActorEnded)
        assert isinstance(end.reason.cause, ReloadTimeout)
        assert state(t, "/runs") == "running"


def test_one_that_is_too_busy_is_left_out_and_reloads_when_it_is_free(
    trial: Trials, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    script, other = Script(), Script()
    tree = one_for_one(play(script, flavour, reload_timeout=7.0), play(other, flavour, name="other"))
    with trial(tree) as t:
        script.do(Sleep(20))
        t.settle()
        assert t.daemon.reload_sync() == ("/it",)
        assert t.now == 7
        assert "/it: not free to reload within 7 s" in caplog.text
        assert whats(other)[2:] == ["reloading", "reloaded"]
        t.advance(13)
        assert whats(script)[2:] == ["handling", "handled", "reloading", "reloaded"]
        assert ends(t) == []


@pytest.mark.parametrize("outcome", [Hang(), Sleep(7 - HAIR)])
def test_one_that_comes_late_has_its_timeout_from_then_on(
    trial: Trials, flavour: FlavourName, outcome: Hang | Sleep
) -> None:
    script = Script()
    script.on_reload(outcome)
    with trial(one_for_one(play(script, flavour, reload_timeout=7.0))) as t:
        script.do(Sleep(20))
        t.settle()
        assert t.daemon.reload_sync() == ("/it",)
        t.advance(13)
        assert whats(script)[2:] == ["handling", "handled", "reloading"]
        t.advance(7 - HAIR)
        assert ends(t) == []
        t.advance(HAIR)
        assert ends(t) == ([("/it", "timeout")] if isinstance(outcome, Hang) else [])
        assert state(t, "/it") == "running"
        assert t.daemon.reload_sync() == ()


def test_a_reload_beside_run_that_is_asked_for_during_a_late_one_comes_after_it(
    trial: Trials, loop_flavour: FlavourName
) -> None:
    told = Diary()

    @actor(flavour=loop_flavour, reload_timeout=7.0, optional=True)
    class Runs:
        async def on_start(self) -> None:
            await current(self).sleep(20)

        async def run(self) -> None:
            await current(self).sleep(1e6)

        async def on_reload(self) -> None:
            told(now(self))
            await current(self).sleep(5)

    with trial(one_for_one(child(Runs))) as t:
        assert t.daemon.reload_sync() == ("/runs",)
        t.advance(15)
        assert told == [20]
        assert t.daemon.reload_sync() == ()
        assert told == [20, 25]
        assert t.now == 30


def test_a_second_reload_takes_the_place_of_one_that_still_waits_for_its_actor(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    with trial(one_for_one(play(script, flavour, reload_timeout=7.0))) as t:
        script.do(Sleep(10))
        t.settle()
        assert t.daemon.reload_sync() == ("/it",)
        assert t.daemon.reload_sync() == ()
        assert t.now == 10
        t.advance(100)
        assert whats(script)[2:] == ["handling", "handled", "reloading", "reloaded"]


# -- coming and going --------------------------------------------------------------------------------------------------
def test_one_that_is_starting_reloads_once_it_is_up(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Fine(), Sleep(3))
    with trial(one_for_one(play(script, flavour))) as t:
        script.crash(Boom())
        t.settle()
        assert state(t, "/it") == "starting"
        assert t.daemon.reload_sync() == ()
        assert t.now == 3
        assert [step.what for step in script.steps if step.generation == 2] == [
            "starting",
            "started",
            "reloading",
            "reloaded",
        ]


@pytest.mark.parametrize("outcome", [Fail(Boom()), Decline()])
def test_one_whose_start_comes_to_nothing_does_not_count(trial: Trials, flavour: FlavourName, outcome: Any) -> None:
    @role(flavour, restart="temporary", optional=True)
    class Starts:
        async def on_start(self) -> None:
            await nap(self, 3)
            if isinstance(outcome, Fail):
                raise outcome.error
            raise Declined

        async def receive(self, message: Note) -> None: ...

        async def on_reload(self) -> None:
            raise AssertionError

    with trial(one_for_one(child(Starts), play(Script(), flavour))) as t:
        assert t.daemon.reload_sync() == ()
        assert t.now == 3


def test_one_that_is_stopped_meanwhile_does_not_count(
    trial: Trials, flavour: FlavourName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    script, other = Script(), Script()
    script.on_reload(Hang())
    tree = one_for_one(play(script, flavour), play(other, flavour, name="other"))
    with trial(tree) as t:
        answer = asked(t)
        t.settle()
        assert t.daemon.terminate_sync("/it") == "ok"
        t.settle()
        assert answer.take() == ()
        assert "reloaded 1 of 2 actors after 0 s; 1 ended meanwhile" in caplog.text
        assert t.now == 0
        assert whats(other)[2:] == ["reloading", "reloaded"]
        assert [end.reason.kind for end in t.events_of(ActorEnded)] == ["shutdown"]


@pytest.mark.parametrize("drain", [False, True])
def test_a_stop_is_not_kept_waiting_by_a_reload(trial: Trials, flavour: FlavourName, drain: bool) -> None:
    script = Script()
    script.on_reload(Hang())
    with trial(one_for_one(play(script, flavour, Note, shutdown=1000.0, drain=drain))) as t:
        answer = asked(t)
        t.settle()
        script.ref.send(Note("queued"))
    assert t.now < 1
    assert answer.take() == ("/it",)
    assert ("handled" in whats(script)) == drain
    assert t.events_of(DaemonReloaded) == []
    assert [end.reason.kind for end in t.events_of(ActorEnded)] == ["shutdown"]


def test_a_stop_is_not_kept_waiting_by_a_reload_beside_run(trial: Trials, loop_flavour: FlavourName) -> None:
    told = Diary()

    @actor(flavour=loop_flavour, shutdown=1000.0)
    class Runs:
        async def run(self, inbox: Inbox[Note]) -> None:
            with pytest.raises(Stopping):
                await inbox.get()
            await current(self).sleep(3)
            told((now(self), "run is over"))

        async def on_reload(self) -> None:
            try:
                await current(self).sleep(1e6)
            finally:
                told((now(self), "reload is over"))

    with trial(child(Runs)) as t:
        answer = asked(t)
        t.settle()
    assert told == [(0, "reload is over"), (3, "run is over")]
    assert answer.take() == ("/runs",)
    assert [end.reason.kind for end in t.events_of(ActorEnded)] == ["shutdown"]


def test_an_actor_that_stops_itself_in_its_reload_finishes_it(trial: Trials, flavour: FlavourName) -> None:
    told = Diary()

    @role(flavour, restart="temporary")
    class Enough:
        async def receive(self, message: Note) -> None: ...

        async def on_reload(self) -> None:
            current(self).stop()
            await nap(self, 2)
            told("to its end")

    with trial(one_for_one(child(Enough), play(Script(), flavour))) as t:
        assert t.daemon.reload_sync() == ()
        t.settle()
        assert told == ["to its end"]
        assert [end.reason.kind for end in t.events_of(ActorEnded)] == ["normal"]
        assert t.now == 2


def test_those_that_start_while_others_reload_do_not_reload(trial: Trials, flavour: FlavourName) -> None:
    first, second = Script(), Script()
    first.on_reload(Sleep(2))
    tree = one_for_one(play(first, flavour), play(second, flavour, name="second", backoff=None))
    with trial(tree) as t:
        answer = asked(t)
        t.advance(1)
        second.crash(Boom())
        t.advance(1)
        assert answer.take() == ()
        assert "reloading" not in whats(second)


# -- requests ----------------------------------------------------------------------------------------------------------
def test_requests_that_come_during_a_reload_share_the_next_one(trial: Trials, flavour: FlavourName) -> None:
    script = Script()
    script.on_reload(Sleep(2), Fail(Boom()))
    with trial(one_for_one(play(script, flavour))) as t:
        first = asked(t)
        t.advance(1)
        second, third = asked(t), asked(t)
        t.advance(1)
        t.settle()
        assert (first.take(), second.take(), third.take()) == ((), ("/it",), ("/it",))
        assert [type(event) for event in t.events if isinstance(event, DaemonReloading | DaemonReloaded)] == [
            *(DaemonReloading, DaemonReloaded),
            *(DaemonReloading, DaemonReloaded),
        ]


def test_a_request_during_the_boot_waits_for_its_end(trial: Trials, flavour: FlavourName) -> None:
    answers: list[Any] = []
    script = Script()

    @actor(flavour="trio")
    class Early:
        async def on_start(self) -> None:
            slot: Any = Slot()
            current(self).daemon.control.post(current(self).daemon.reloads.ask, slot)
            answers.append(slot)

        async def receive(self, message: Note) -> None: ...

    script.on_start(Sleep(3))
    with trial(one_for_one(child(Early), play(script, flavour))) as t:
        t.settle()
        assert t.now == 3
        assert answers[0].take() == ()
        assert whats(script) == ["starting", "started", "reloading", "reloaded"]


def test_a_boot_that_fails_answers_who_waits_for_a_reload(trial: Trials) -> None:
    slots: list[Any] = []

    @actor(flavour="trio")
    class Early:
        async def on_start(self) -> None:
            slot: Any = Slot()
            current(self).daemon.control.post(current(self).daemon.reloads.ask, slot)
            slots.append(slot)

        async def receive(self, message: Note) -> None: ...

    script = Script()
    script.on_start(Fail(Boom()))
    with pytest.raises(DaemonFailed), trial(one_for_one(child(Early), play(script, "asyncio"))):
        pytest.fail("entered")
    assert slots[0].take() == ("/",)


def test_a_stop_answers_with_those_that_have_not_reloaded(trial: Trials, flavour: FlavourName) -> None:
    first, second, third = Script(), Script(), Script()
    second.on_reload(Hang())
    tree = one_for_one(play(first, flavour), play(second, flavour, name="second"), play(third, flavour, name="third"))
    with trial(tree) as t:
        answer = asked(t)
        t.settle()
        waiting = asked(t)
        t.settle()
    assert answer.take() == ("/second", "/third")
    assert waiting.take() == ("/it", "/second", "/third")
    kinds = [type(event) for event in t.events if isinstance(event, DaemonReloading | DaemonReloaded | DaemonStopping)]
    assert kinds == [DaemonReloading, DaemonStopping]
    assert t.daemon.reload_sync() == ("/",)  # nothing runs any more


def test_a_reload_that_is_asked_for_during_a_stop_does_not_say_that_all_is_well(
    trial: Trials, flavour: FlavourName
) -> None:
    script = Script()
    script.on_stop(Sleep(2))
    with trial(one_for_one(play(script, flavour))) as t:
        t.daemon.stop()
        t.advance(1)
        assert state(t, "/it") == "stopping"
        assert t.daemon.reload_sync() == ("/",)
    assert "reloading" not in whats(script)


@pytest.mark.parametrize("where", ["on_start", "receive", "on_reload"])
def test_a_reload_that_would_wait_for_its_own_caller_is_refused(
    trial: Trials, flavour: FlavourName, where: str
) -> None:
    told = Diary()

    def attempt(me: Any, here: str) -> None:
        if here == where:
            with pytest.raises(UsageError, match="/asks: reload, which would wait for this very call to end"):
                current(me).daemon._reload()
            told("refused")

    @role(flavour)
    class Asks:
        async def on_start(self) -> None:
            attempt(self, "on_start")

        async def receive(self, message: Note) -> None:
            attempt(self, "receive")

        async def on_reload(self) -> None:
            attempt(self, "on_reload")

    asks = child(Asks)
    with trial(asks) as t:
        asks.ref.send(Note())
        assert t.daemon.reload_sync() == ()
        assert told == ["refused"]


def test_a_reload_beside_run_must_not_wait_for_itself_but_its_background_tasks_may(
    trial: Trials, loop_flavour: FlavourName
) -> None:
    told = Diary()

    @actor(flavour=loop_flavour)
    class Asks:
        async def run(self) -> None:
            await current(self).sleep(1e6)

        async def on_reload(self) -> None:
            with pytest.raises(UsageError, match="/asks: reload, which would wait for this very call to end"):
                await current(self).daemon.reload()
            if told == []:
                current(self).start_soon(self.again)
            told("refused")

        async def again(self) -> None:
            told(await current(self).daemon.reload())

    with trial(child(Asks)) as t:
        assert t.daemon.reload_sync() == ()
        t.settle()
        assert told == ["refused", "refused", ()]


def test_an_actor_that_does_not_reload_itself_may_ask_for_it(trial: Trials, flavour: FlavourName) -> None:
    told = Diary()

    @role(flavour)
    class Asks:
        async def receive(self, message: Note) -> None:
            daemon = current(self).daemon
            told(await daemon.reload() if in_event_loop() else daemon.reload_sync())

    asks, script = child(Asks), Script()
    script.on_reload(Sleep(3))
    with trial(one_for_one(asks, play(script, "asyncio"))) as t:
        asks.ref.send(Note())
        t.advance(3)
        assert told == [()]
        assert whats(script)[2:] == ["reloading", "reloaded"]
