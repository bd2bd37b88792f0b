"""Probes: what was sent to a test, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.actors.stage import FlavourName, Note, Number, SpecialNote, ask, role
from trouper import (
    ActorStopped,
    AskTimeout,
    Message,
    MessageTypeError,
    Ref,
    ReplyTypeError,
    Terminated,
    UsageError,
    child,
    current,
    one_for_one,
)
from trouper.events import DeadLetter
from trouper.reasons import crashed
from trouper.testing import Probe, Trial, TrialError


class Go(Message):
    """Do it."""


def test_what_a_tree_sends_to_a_probe_is_expected_in_order(flavour: FlavourName) -> None:
    @role(flavour)
    class Talker:
        to: Ref[Note]

        async def receive(self, message: Go) -> None:
            for word in ("one", "two"):
                self.to.send(Note(word))

    probe = Probe(Note)
    it = child(Talker, probe.ref)
    with Trial(it, probes=[probe]) as t:
        probe.expect_none(within=10)
        assert t.now == 10
        it.ref.send(Go())
        assert probe.expect(Note, within=5).text == "one"
        assert t.now == 10
        probe.expect(Note("two"))
        assert probe.messages == [Note("one"), Note("two")]


def test_a_probe_waits_in_virtual_time(loop_flavour: FlavourName) -> None:
    @role(loop_flavour)
    class Late:
        to: Ref[Note]

        async def run(self) -> None:
            for count in range(3):
                await current(self).sleep(3600)
                self.to.send(Note(count))
            await current(self).sleep(1e9)

    probe = Probe(Note)
    with Trial(child(Late, probe.ref), probes=[probe]) as t:
        with pytest.raises(TrialError, match=r"within 3599 s; expected .*Note"):
            probe.expect(Note, within=3599)
        assert probe.fish(lambda note: note.text == 1, within=7200) == Note(1)
        assert t.now == 7200
        with pytest.raises(TrialError, match="came; expected none"):
            probe.expect_none(within=3600)
        with pytest.raises(TrialError, match="no such message"):
            probe.fish(lambda note: note.text == 1, within=1)


def test_another_message_than_the_expected_one_is_shown() -> None:
    probe = Probe(Note)
    probe.ref.send(Note("this"))
    probe.ref.send(Note("this"))
    with pytest.raises(TrialError, match=r"this.*expected .*that"):
        probe.expect(Note("that"))
    with pytest.raises(TrialError, match=r"expected .*SpecialNote"):
        probe.expect(SpecialNote)


def test_a_probe_takes_its_types_only() -> None:
    with pytest.raises(MessageTypeError):
        Probe(Go).ref.send(Note())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    anything = Probe[Message]()
    anything.ref.send(Note())
    anything.expect(Note())


def test_a_probe_answers_requests(flavour: FlavourName) -> None:
    @role(flavour)
    class Asker:
        whom: Ref[Number]
        to: Ref[Note]

        async def receive(self, message: Go) -> None:
            self.to.send(Note(await ask(self.whom, Number(1), timeout=60)))

    asked, heard = Probe(Number), Probe(Note)
    it = child(Asker, asked.ref, heard.ref)
    with Trial(one_for_one(it), probes=[asked, heard]) as t:
        it.ref.send(Go())
        request = asked.expect(Number, within=1)
        t.advance(30)
        asked.reply(request, 17)
        heard.expect(Note(17), within=1)
        assert t.now == 30
        with pytest.raises(UsageError, match="not answered"):
            asked.reply(request, 18)


def test_a_wrong_reply_is_told_to_both() -> None:
    probe = Probe(Number)
    with Trial(child(Idle)) as t:
        mine = t.probe(Number)
        with pytest.raises(AskTimeout):
            t.ask(mine.ref, Number(), timeout=3)
        request = mine.expect(Number)
        with pytest.raises(ReplyTypeError):
            mine.reply(request, "seventeen")  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    probe.ref.send(Number())
    with pytest.raises(UsageError, match="asked"):
        probe.reply(probe.expect(Number), 1)


@role("trio")
class Idle:
    async def receive(self, message: Go) -> None: ...


def test_a_probe_without_a_trial_cannot_wait_and_says_so() -> None:
    with pytest.raises(UsageError, match=r"t\.probe"):
        Probe(Note).expect(Note, within=1)
    with pytest.raises(TrialError, match="nothing came so far"):
        Probe(Note).expect(Note)


def test_a_probe_can_be_watched_and_ends_when_the_test_says_so(flavour: FlavourName) -> None:
    @role(flavour)
    class Watcher:
        whom: Any
        to: Any

        async def on_start(self) -> None:
            current(self).watch(self.whom)

        async def receive(self, message: Go | Terminated) -> None:
            self.to.send(message)
            if isinstance(message, Go):
                current(self).watch(self.whom)

    watched, heard = Probe(Note, Number), Probe(Go, Terminated)
    it = child(Watcher, watched.ref, heard.ref)
    with pytest.raises(UsageError, match="knows no trial"):
        watched.end()
    with Trial(one_for_one(it), probes=[watched, heard]) as t:
        t.advance(3600)
        heard.expect_none()
        watched.ref.send(Note("not looked at"))
        watched.end(reason := crashed(ValueError("fell over")))
        assert heard.expect(Terminated, within=1) == Terminated(watched.ref, reason)
        watched.end()
        it.ref.send(Go())  # it watches a dead one
        heard.expect(Go, within=1)
        assert heard.expect(Terminated, within=1).reason is reason
        watched.ref.send(Note("too late"))
        with pytest.raises(ActorStopped):
            t.ask(watched.ref, Number())
        assert [event.message for event in t.events_of(DeadLetter)][:2] == [Note("not looked at"), Note("too late")]
