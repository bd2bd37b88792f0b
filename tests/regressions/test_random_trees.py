"""What the random trees of tests/stateful found, each defect with the test that would have told; in virtual time."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from tests.actors.stage import Boom, Crash, Echo, FlavourName, Note, role
from tests.virtual.cast import play, state
from trouper import Declined, Inbox, child, current, one_for_all, one_for_one
from trouper.events import ActorEnded, DaemonReady, SupervisorEnded
from trouper.testing import Fail, Hang, Script, Sleep, Trial


# -- mailboxes ---------------------------------------------------------------------------------------------------------
def test_a_run_that_drains_ends_though_what_lay_last_in_its_mailbox_was_no_message(loop_flavour: FlavourName) -> None:
    @role(loop_flavour, drain=True)
    class Keeps:
        async def run(self, inbox: Inbox[Note]) -> None:
            me: Any = current(self)
            async for note in inbox:
                me.stash(note)  # a marker of that lies in front of the mailbox
                while not me.stopping:
                    await me.sleep(0.1)

    keeps = child(Keeps)
    with Trial(one_for_one(keeps)) as t:
        keeps.ref.send(Note())
        t.advance(1)
        t.call(t.daemon.terminate_sync, "/keeps")
        assert t.now < 1.5


def test_a_message_for_a_child_that_is_to_be_started_again_waits_for_that(flavour: FlavourName) -> None:
    slow, script = Script(), Script()
    again = play(script, flavour, Note, name="again")
    with Trial(one_for_one(play(slow, "trio", name="slow"))) as t:
        t.call(t.daemon.start_sync, again)
        for request in (t.daemon.terminate_sync, t.daemon.delete_sync):
            t.call(request, "/again")
        t.call(t.daemon.terminate_sync, "/slow")
        slow.on_start(Hang())
        t.daemon._request("restart", "/slow")
        t.daemon._start(again, "/")  # waits until that has started
        t.settle()
        again.ref.send(Note("hello"))
        t.settle()
        slow.release()
        t.settle()
        assert script.steps[-1].message == Note("hello")


def test_a_message_for_an_actor_of_a_group_that_did_not_come_up_is_a_dead_letter(flavour: FlavourName) -> None:
    never = play(Script(), flavour, Echo, name="never")
    fails = Script()
    fails.on_start(Fail(Boom()))
    with Trial(one_for_one()) as t:
        assert t.call(t.daemon.start_sync, one_for_all(play(fails, "trio"), never, name="group")) == "nope"
        never.ref.send(Echo())
        t.settle()
        assert t.daemon.dead_letters == 1


def test_who_was_added_under_the_name_of_a_declared_child_is_closed_at_the_end_too(flavour: FlavourName) -> None:
    other = play(Script(), flavour, Note)
    with Trial(one_for_one(play(Script(), flavour))) as t:
        for request in (t.daemon.terminate_sync, t.daemon.delete_sync):
            t.call(request, "/it")
        assert t.call(t.daemon.start_sync, other) == "ok"
    other.ref.send(Note())
    assert t.daemon.dead_letters == 1


# -- what is said ------------------------------------------------------------------------------------------------------
def test_who_ended_while_the_daemon_stops_is_not_said_to_run(flavour: FlavourName) -> None:
    crashes, slow = Script(), Script()
    slow.on_stop(Sleep(3))
    with Trial(one_for_one(play(crashes, flavour, name="crashes"), play(slow, flavour, name="slow"))) as t:
        t.daemon.stop()
        t.settle()
        crashes.crash(Boom())
        t.advance(1)
        assert len(t.events_of(ActorEnded)) == 1
        assert (state(t, "/crashes"), state(t, "/slow")) == ("undefined", "stopping")


def test_who_is_not_restarted_because_the_daemon_stops_is_not_said_to_start(flavour: FlavourName) -> None:
    crashes, slow = Script(), Script()
    slow.on_stop(Sleep(3))
    inner = one_for_one(play(crashes, flavour, name="crashes"), name="inner")
    with Trial(one_for_one(inner, play(slow, flavour, name="slow"))) as t:
        for _ in range(2):
            crashes.crash(Boom())
            t.settle()
        assert state(t, "/inner/crashes") == "backoff"
        t.daemon.stop()
        t.advance(2)
        assert (state(t, "/inner/crashes"), state(t, "/slow")) == ("undefined", "stopping")


def test_a_tree_that_has_ended_is_not_said_to_be_ready(flavour: FlavourName) -> None:
    @role(flavour, significant=True, restart="temporary")
    class Short:
        async def run(self) -> None:
            """Done at once."""

    with Trial(one_for_one(child(Short), auto_shutdown="any_significant")) as t:
        told = [type(event) for event in t.events if isinstance(event, DaemonReady | SupervisorEnded)]
        assert told in ([SupervisorEnded], [DaemonReady, SupervisorEnded])


# -- ends --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(10))
def test_who_ended_by_itself_is_not_killed_with_who_spawned_it_and_not_found_unkillable(
    seed: int, flavour: FlavourName
) -> None:
    @role(flavour, restart="temporary")
    class Spawned:
        async def receive(self, message: Crash) -> None:
            raise Boom

    @role(flavour, shutdown=0)
    class Spawner:
        async def receive(self, message: Note) -> None:
            message.text(current(self).spawn(child(Spawned)))

    slow, spawner = Script(), child(Spawner)
    born: list[Any] = []
    slow.on_stop(Sleep(8))
    with Trial(one_for_one(play(slow, flavour, name="slow", shutdown=9), spawner), seed=seed) as t:
        spawner.ref.send(Note(born.append))
        t.settle()
        born[0].send(Crash())
    assert t.now > 8


def test_the_ref_of_an_actor_that_declined_does_not_keep_it(flavour: FlavourName) -> None:
    lives: list[Any] = []

    @role(flavour)
    class Declines:
        async def on_start(self) -> None:
            lives.append(weakref.ref(self))
            raise Declined

        async def receive(self, message: Note) -> None: ...

    declines = child(Declines)
    with Trial(one_for_one(declines)):
        gc.collect()
        assert [life() for life in lives] == [None]
    assert declines.ref.path == "/declines"
