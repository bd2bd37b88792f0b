"""What the random trees of tests/stateful found, each defect with the test that would have told; in virtual time."""

from __future__ import annotations

from typing import Any

from tests.actors.stage import FlavourName, Note, role
from trouper import Inbox, child, current, one_for_one
from trouper.testing import Trial


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
