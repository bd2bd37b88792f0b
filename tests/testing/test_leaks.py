"""What is left over is found and named; what is in order is not."""

from __future__ import annotations

import asyncio
import socket
import threading
from threading import Event
from typing import Any

import pytest
import trio

from tests.actors.stage import FlavourName, Host, Note, role
from trouper import Backoff, actor, child, current, one_for_one
from trouper.testing import Fail, Leaked, Script, Trial, no_leaks


def acting(flavour: FlavourName, act: Any) -> Any:
    """An actor that calls `act(self)` over a message."""

    @role(flavour)
    class Acts:
        async def receive(self, message: Note) -> None:
            act(self)

    return child(Acts).options(name="it")


def leaked(it: Any, **options: Any) -> str:
    with pytest.raises(Leaked) as found, Trial(one_for_one(it), seed=5, **options) as t:  # noqa: PT012 - raised at its end
        it.ref.send(Note())
        t.advance(1)
    assert "seed=5" in found.value.__notes__[0]
    return str(found.value)


def test_a_clean_trial_leaks_nothing_even_if_actors_crash_and_are_restarted(flavour: FlavourName) -> None:
    script = Script()
    script.on_start(Fail(ValueError("at first")))
    tree = one_for_one(child(Script().actor(flavour)), name="root")
    with Trial(tree):
        pass
    again = Script()
    with Trial(one_for_one(child(again.actor(flavour)))) as t:
        for _ in range(3):
            again.crash(ValueError("fell over"))
            t.advance(40)


@pytest.mark.parametrize("gone_first", [False, True])
def test_a_backoff_that_nobody_waits_for_any_more_leaves_no_timer(loop_flavour: FlavourName, gone_first: bool) -> None:
    @actor(flavour=loop_flavour)
    class Kid:
        async def receive(self, message: Note) -> None:
            raise ValueError

    kid = child(Kid).options(backoff=Backoff(first=1000.0))
    it = acting(loop_flavour, lambda me: kid.ref.send(Note()) if kid.ref.path else current(me).spawn(kid))
    with Trial(it) as t:
        for _ in range(2):
            it.ref.send(Note())
            t.advance(1)
        assert "kid-1: backoff" in str(t.daemon.tree_sync())
        spawned: Any = it.ref.cell.spawner
        if gone_first:
            spawned.stop_child(kid.ref)
            t.advance(1)
            assert "kid" not in str(t.daemon.tree_sync())
        assert len(spawned.waits) == (0 if gone_first else 1)


def test_a_backoff_in_the_static_tree_ends_with_the_child(flavour: FlavourName) -> None:
    class Over(ValueError): ...

    script = Script()
    it = child(script.actor(flavour)).options(backoff=Backoff(first=1000.0), name="it")
    with Trial(one_for_one(it)) as t:
        root: Any = t.daemon.root
        waiting = len(root.lane.timers.waiting())
        script.crash(Over())
        t.advance(1)
        assert len(root.lane.timers.waiting()) == waiting + 1
        assert t.daemon.terminate_sync("/it") == "ok"
        assert t.daemon.delete_sync("/it") == "ok"
        assert len(root.lane.timers.waiting()) == waiting


def test_a_task_that_nobody_owns_is_named() -> None:
    async def forgotten() -> None:
        await asyncio.sleep(1e6)

    tasks = []
    text = leaked(acting("asyncio", lambda _: tasks.append(asyncio.ensure_future(forgotten()))))
    assert "- tasks: " in text
    assert "forgotten in the asyncio lane" in text


def test_a_system_task_of_trio_is_named() -> None:
    async def forgotten() -> None:
        await trio.sleep_forever()

    text = leaked(acting("trio", lambda _: trio.lowlevel.spawn_system_task(forgotten)))
    assert "forgotten in the trio lane" in text


def test_a_timer_is_named() -> None:
    def forgotten() -> None: ...

    text = leaked(acting("asyncio", lambda _: asyncio.get_running_loop().call_later(1e6, forgotten)))
    assert "- timers: " in text
    assert "forgotten" in text
    text = leaked(acting("trio", lambda me: current(me)._cell.ref.lane.call_later(1e6, forgotten)))
    assert "forgotten" in text


def test_a_thread_is_named(flavour: FlavourName) -> None:
    let_go = Event()
    text = leaked(
        acting(flavour, lambda _: threading.Thread(target=let_go.wait, name="forgotten", daemon=True).start())
    )
    let_go.set()
    assert "- threads: forgotten" in text


def test_an_open_file_is_named_and_a_closed_one_is_not(flavour: FlavourName, tmp_path: Any) -> None:
    kept: list[Any] = []
    text = leaked(acting(flavour, lambda _: kept.append((tmp_path / "forgotten").open("w"))))
    kept.pop().close()
    assert "- files: " in text
    assert "forgotten" in text
    with Trial(it := acting(flavour, lambda _: (tmp_path / "forgotten").open("w").close())) as t:
        it.ref.send(Note())
        t.settle()


def test_what_the_test_opens_is_its_own_business(flavour: FlavourName, tmp_path: Any) -> None:
    with Trial(acting(flavour, print)) as t:
        file = (tmp_path / "mine").open("w")
        t.settle()
    file.close()


def test_an_instance_that_is_held_is_named_with_its_holder(flavour: FlavourName) -> None:
    kept: list[Any] = []
    it = acting(flavour, kept.append)
    text = leaked(it)
    assert "- instances: /it, generation 1, held by list" in text
    kept.clear()
    with Trial(one_for_one(it), leaks=()) as t:
        it.ref.send(Note())
        t.settle()


def test_an_instance_of_an_earlier_life_is_named(flavour: FlavourName) -> None:
    kept: list[Any] = []

    def keep_and_fall(me: Any) -> None:
        kept.append(me)
        raise ValueError("fell over")

    assert "/it, generation 1, held by" in leaked(acting(flavour, keep_and_fall))


def test_the_error_of_the_test_goes_before_what_it_left(flavour: FlavourName) -> None:
    kept: list[Any] = []
    it = acting(flavour, kept.append)
    with pytest.raises(ZeroDivisionError), Trial(it) as t:  # noqa: PT012 - the end would fail, too
        it.ref.send(Note())
        t.settle()
        _ = 1 / 0


# -- no_leaks ----------------------------------------------------------------------------------------------------------
class Thing:
    """What can be referred to weakly."""


def test_a_block_without_leaks_is_fine(host: Host) -> None:
    async def main() -> None:
        with no_leaks() as gone:
            thing = Thing()
            gone(thing)
            del thing
            thread = threading.Thread(target=print)
            thread.start()
            one, two = socket.socketpair()
            one.close()
            two.close()

    host.loop(main)


def test_a_block_with_leaks_names_them() -> None:
    let_go, kept, dups = Event(), [], []
    one, two = socket.socketpair()
    with pytest.raises(Leaked) as found, no_leaks() as gone:  # noqa: PT012 - raised at its end
        kept.append(Thing())
        gone(kept[0], "the thing")
        threading.Thread(target=let_go.wait, name="forgotten", daemon=True).start()
        dups.append(two.dup())
    let_go.set()
    for each in (one, two, *dups):
        each.close()
    text = str(found.value)
    assert "- threads: forgotten" in text
    assert "- files: " in text
    assert "- instances: the thing, held by list" in text
    assert text.count("\n- ") == 3


def test_tasks_of_the_running_loop_are_named(host: Host) -> None:
    async def forgotten() -> None:
        if host.name == "asyncio":
            await asyncio.sleep(1e6)
        else:
            await trio.sleep_forever()

    async def main() -> None:
        if host.name == "asyncio":
            tasks = []
            with pytest.raises(Leaked, match="forgotten"), no_leaks():
                tasks.append(asyncio.ensure_future(forgotten()))
            tasks.pop().cancel()
        else:
            async with trio.open_nursery() as nursery:
                with pytest.raises(Leaked, match="forgotten"), no_leaks():
                    nursery.start_soon(forgotten)
                nursery.cancel_scope.cancel()

    host.loop(main)


def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    kept = []
    with pytest.raises(ZeroDivisionError), no_leaks() as gone:  # noqa: PT012 - its end would fail, too
        kept.append(Thing())
        gone(kept[0])
        _ = 1 / 0


def test_what_no_actor_is_left_in_is_not_reported(loop_flavour: FlavourName) -> None:
    @actor(flavour=loop_flavour)
    class Orderly:
        async def run(self) -> None:
            current(self).start_soon(current(self).sleep, 1e6)
            current(self).spawn(child(Script().actor(loop_flavour)))
            await current(self).sleep(1e6)

    with Trial(child(Orderly)) as t:
        t.advance(10)
