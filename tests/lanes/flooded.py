"""A daemon whose async lanes are flooded, and how late innocent sleepers of 5 ms are meanwhile; prints that as JSON.

Arguments: how many samples to take of each sleeper, which lanes to flood, and, to show what happens then, other
settings of the interpreter's switch interval and of the lanes' slices (in seconds; `own` leaves what the daemon has).
"""

from __future__ import annotations

import asyncio
import json
import sys
from threading import Thread
from time import perf_counter, process_time, sleep
from typing import Any

import trio

from trouper import Message, actor, child, current, one_for_one, run
from trouper.lanes.lane import Lane

SLEEP = 0.005  # seconds


class Again(Message): ...


@actor(flavour=trio)
class TrioFlood:
    async def receive(self, message: Again) -> None:
        current(self).self_ref.send(message)


@actor(flavour=asyncio)
class AsyncioFlood:
    async def receive(self, message: Again) -> None:
        current(self).self_ref.send(message)


@actor(flavour="threading")
class Judge:
    """Waits until both sleepers have their samples, and stops the daemon."""

    samples: int
    switch_interval: float | None
    slice_after: float | None
    floods: list[Any]

    def run(self) -> None:
        daemon = current(self).daemon
        if self.switch_interval is not None:
            sys.setswitchinterval(self.switch_interval)
        for lane in daemon.loops.values():
            lane._slice = self.slice_after
        for flood in self.floods:
            flood.send(Again())
        late: dict[str, list[float]] = {"thread": [], "control": []}
        before = {name: lane.turns for name, lane in daemon.loops.items()}
        sleepers = [
            Thread(target=self.sleep_in_a_thread, args=(late["thread"],)),
            Thread(target=self.sleep_in_the_control_lane, args=(daemon.control, late["control"])),
        ]
        for sleeper in sleepers:
            sleeper.start()
        for sleeper in sleepers:
            sleeper.join()
        turns = {name: lane.turns - before[name] for name, lane in daemon.loops.items()}
        sys.setswitchinterval(0.0001)
        sys.stdout.write(json.dumps({"late": late, "turns": turns}))
        sys.stdout.flush()
        daemon.stop()

    def sleep_in_a_thread(self, late: list[float]) -> None:
        for _ in range(self.samples):
            sleeping = Sleep()
            sleep(SLEEP)
            late.append(sleeping.late())

    def sleep_in_the_control_lane(self, control: Lane, late: list[float]) -> None:
        def woken(sleeping: Sleep) -> None:
            late.append(sleeping.late())
            doze()

        def doze() -> None:
            if len(late) < self.samples:
                control.call_later(SLEEP, woken, Sleep())

        control.post(doze)
        while len(late) < self.samples:
            sleep(SLEEP)


class Sleep:
    """One sleep, late for as long as this process was busy with something else.

    What other processes of the machine take from all of this one is not counted.
    """

    def __init__(self) -> None:
        self.began, self.busy = perf_counter(), process_time()

    def late(self) -> float:
        return max(0.0, min(perf_counter() - self.began, process_time() - self.busy) - SLEEP)


def chosen(text: str) -> float | None:
    return None if text == "own" else float(text)


FLOODS: dict[str, Any] = {"trio": TrioFlood, "asyncio": AsyncioFlood}

if __name__ == "__main__":
    samples, lanes, switch_interval, slice_after = sys.argv[1:]
    floods = [child(FLOODS[name]).options(name=f"{name}{number}") for name in lanes.split(",") for number in range(4)]
    judge = child(Judge, int(samples), chosen(switch_interval), chosen(slice_after), [flood.ref for flood in floods])
    run(one_for_one(*floods, judge.options(restart="temporary")))
