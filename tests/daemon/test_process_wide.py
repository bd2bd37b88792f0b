"""Two daemons in one process do not meet: what is the process's is listed here, each with its reason."""

from __future__ import annotations

import pytest

from tests.daemon.program import run_code

KNOWN = {
    "default_services": "the one object that is meant to be shared: what runs when there is no daemon yet",
    # how threads and loops wait, known by the thread or the loop; a daemon leaves nothing there
    "waiting": "by thread: how it waits in a trial",
    "SLEEPERS": "by thread: what it sleeps by at a wire",
    "doorbells": "by loop: how it is woken from outside",
    "left_behind": "loops of trials that did not end, kept for trio complains of one that is thrown away",
    # locks over moments, which no code of users and no waiting is under
    "boxes": "while a mailbox gets its box",
    "mails": "while a reload changes hands",
    "waiters": "while the first waits for the end of a payload",
    # of the process by their nature
    "importing": "in a worker, while it imports the program",
    "title_setter": "whether setproctitle is installed",
    # never changed
    "plain": "a formatter",
    "head": "a formatter",
}


@pytest.mark.once
def test_the_default_registry_is_the_only_thing_that_daemons_of_a_process_share() -> None:
    """All else that could change is a table by its name, and has not changed after the lives of two daemons."""
    with run_code("from tests.daemon.process_wide import main; main()") as program:
        assert program.end() == 0
    said = [line for line in program.said if line != "trouper.lanes.hygiene.asyncio_events is another object now\n"]
    names = [line.partition(" ")[0] for line in said]
    assert [line for line in said if not line.endswith(" as before\n")] == []
    tables = [name for name in names if name.isupper() or name.endswith("._field_defaults")]
    assert sorted(set(names) - set(tables) | {"SLEEPERS"}) == sorted(KNOWN)
    assert sorted(name for name in names if name in KNOWN) == sorted(KNOWN), "two of one name"
