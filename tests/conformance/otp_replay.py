"""Replay what the supervisor of Erlang/OTP 25 did, and compare event by event.

`python tests/conformance/otp_replay.py tests/conformance/otp_traces.jsonl` plays every scenario of the file against the
pure supervision machine and prints how many match. `otp_traces.jsonl` holds 750 random scenarios and the traces that
the real supervisor left; each line is one `Scenario`.

Four parts that know nothing of each other's insides: `load` reads scenarios, a `Stage` lets one supervisor act and
writes down what it sees, `play` puts one scenario on a stage, and `difference` compares two traces. A stage is all that
another implementation has to bring.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol, TypedDict, get_args

from trouper.reasons import NORMAL, SHUTDOWN, Reason, crashed, start_failed
from trouper.supervision.actions import Action, Answer, BootFailed, Down, Retry, Start, Stop, Up
from trouper.supervision.machine import AutoShutdown, Machine
from trouper.supervision.members import Member, Restart, Strategy

Flavour = Literal["trio", "asyncio", "threading"]
Event = list[Any]
Trace = list[Event]
Operation = list[Any]

REASONS: Final[dict[str, Reason]] = {
    "normal": NORMAL,
    "shutdown": SHUTDOWN,
    "crash": crashed(RuntimeError("crash")),
}


# -- scenarios ---------------------------------------------------------------------------------------------------------
class Spec(TypedDict):
    """A child."""

    id: str
    restart: Restart
    significant: bool


class Scenario(TypedDict):
    """A supervisor, the outcomes of its children's starts, what is done to it, and what the real one did."""

    strategy: Strategy
    intensity: int
    auto_shutdown: AutoShutdown
    children: list[Spec]
    plans: dict[str, list[str]]
    ops: list[Operation]
    trace: Trace


def load(path: Path) -> list[Scenario]:
    """The scenarios of a file, one JSON object a line."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# -- playing one -------------------------------------------------------------------------------------------------------
class Stage(Protocol):
    """One supervisor with scripted children. It adds to a trace what it sees: starts, stops, deaths, its end."""

    def boot(self) -> None:
        """Start the tree and return when all is quiet."""

    def running(self, child: str, /) -> bool:
        """Whether this child is alive."""
        ...

    def post(self, operation: Operation, /) -> None:
        """Let a child die, or send a request: nothing is handled before `settle`."""

    def settle(self) -> list[str]:
        """Let what was posted be handled, return when all is quiet: the answers to the requests, in order."""
        ...

    def view(self) -> list[list[str]]:
        """Id and state of each child, in start order."""
        ...

    def ended(self) -> bool:
        """Whether there is no supervisor any more."""
        ...

    def close(self) -> None:
        """The play is over: let go of what still runs. What happens now is in the trace no more."""


Staged = Callable[[Scenario, Trace], Stage]


def play(scenario: Scenario, staged: Staged) -> Trace:
    """Put a scenario on a stage; what came of it."""
    trace: Trace = []
    with closing(staged(scenario, trace)) as stage:
        stage.boot()
        for op in scenario["ops"]:
            if stage.ended():
                break
            trace.append(["op", *op])
            answers = perform(op[1:] if op[0] == "batch" else [op], stage)
            if not stage.ended():
                trace.append(["reply", answers, stage.view()])
        return list(trace)


def perform(operations: list[Operation], stage: Stage) -> list[str]:
    """Do these together; the answers. Only children that are alive can die, and only once: else all is skipped."""
    victims = [operation[1] for operation in operations if operation[0] == "die"]
    if len(set(victims)) < len(victims) or not all(map(stage.running, victims)):
        return ["skip"]
    for operation in operations:
        stage.post(operation)
    return stage.settle()


# -- the pure machine on a stage ---------------------------------------------------------------------------------------
class Limit(NamedTuple):
    """So many restarts within so many seconds."""

    n: int
    within: float


class MachineStage:
    """Drives the pure machine: one input at a time from a queue, and children that do at once what the plan says."""

    def __init__(self, scenario: Scenario, trace: Trace) -> None:
        members = [Member(**spec) for spec in scenario["children"]]
        limit = Limit(scenario["intensity"], within=math.inf)
        self.machine = Machine(scenario["strategy"], limit, scenario["auto_shutdown"], members)
        self.outcomes = {child: iter(plan) for child, plan in scenario["plans"].items()}
        self.trace = trace
        self.alive: dict[str, int] = {}
        self.inputs: deque[Callable[[], None]] = deque()
        self.answers: list[str] = []
        self.over = False

    def boot(self) -> None:
        self.inputs.append(partial(self.machine.boot, 0.0))
        self.settle()

    def running(self, child: str) -> bool:
        return child in self.alive

    def post(self, operation: Operation) -> None:
        match operation:
            case ["die", child, reason]:
                self.trace.append(["died", child, reason])
                self.inputs.append(partial(self.machine.exited, child, self.alive.pop(child), REASONS[reason], 0.0))
            case ["start", spec]:
                self.inputs.append(partial(self.machine.add, None, Member(**spec), 0.0))
            case [("terminate" | "restart" | "delete") as request, child]:
                self.inputs.append(partial(getattr(self.machine, request), None, child, 0.0))
            case unknown:
                raise ValueError(unknown)

    def settle(self) -> list[str]:
        while self.inputs:
            self.inputs.popleft()()
            while self.machine.actions:
                self.act(self.machine.actions.popleft())
        answers, self.answers = self.answers, []
        return answers

    def view(self) -> list[list[str]]:
        return [list(pair) for pair in self.machine.view()]

    def ended(self) -> bool:
        return self.over

    def close(self) -> None:
        pass

    def act(self, action: Action) -> None:
        match action:
            case Start(child, generation):
                self.start(child, generation)
            case Stop(child, generation):
                self.stop(child, generation)
            case Retry():
                self.inputs.append(partial(self.machine.resume, 0.0))
            case Answer(_, result):
                self.answers.append(result)
            case Up():
                self.trace.append(["started", self.view()])
            case BootFailed(child, reason):
                self.trace.append(["start_failed", child, str(reason.cause)])
                self.over = True
            case Down():
                self.trace.append(["sup_exit", "shutdown"])  # OTP has no other word for either end
                self.over = True
            case _:
                pass  # for mailboxes and logs

    def start(self, child: str, generation: int) -> None:
        outcome = next(self.outcomes.get(child, iter(())), "ok")
        self.trace.append(["start", child, outcome])
        match outcome:
            case "ok":
                self.alive[child] = generation
                self.machine.started(child, generation, 0.0)
            case "ignore":
                self.machine.declined(child, generation, 0.0)
            case _:
                self.machine.start_failed(child, generation, start_failed(RuntimeError("nope")), 0.0)

    def stop(self, child: str, generation: int) -> None:
        if self.alive.pop(child, None) is not None:
            self.trace.append(["stopped", child, "shutdown"])
        self.machine.stopped(child, generation, 0.0)


# -- comparing ---------------------------------------------------------------------------------------------------------
def difference(expected: Trace, got: Trace) -> str | None:
    """Where two traces part, told for people; None if they do not."""
    for position, (there, here) in enumerate(zip(expected, got, strict=False)):
        if there != here:
            return f"event {position}: expected {json.dumps(there)}, got {json.dumps(here)}"
    if len(expected) == len(got):
        return None
    more = expected if len(expected) > len(got) else got
    side = "expected" if more is expected else "got"
    return f"event {min(len(expected), len(got))}: only {side} {json.dumps(more[min(len(expected), len(got))])}"


def mismatches(scenarios: Iterable[Scenario], staged: Staged) -> Iterator[tuple[int, Scenario, Trace, str]]:
    """The scenarios that come out differently: number (from 1), scenario, trace and difference."""
    for number, scenario in enumerate(scenarios, start=1):
        got = play(scenario, staged)
        told = difference(scenario["trace"], got)
        if told is not None:
            yield number, scenario, got, told


def report(number: int, scenario: Scenario, got: Trace, told: str) -> str:
    """One mismatch, with the whole of both traces."""
    return "\n".join(
        [
            f"scenario {number}: {told}",
            *(f"  {key}: {json.dumps(value)}" for key, value in scenario.items() if key != "trace"),
            "expected:",
            *(f"  {json.dumps(event)}" for event in scenario["trace"]),
            "got:",
            *(f"  {json.dumps(event)}" for event in got),
            "",
        ]
    )


def staged_for(flavour: Flavour | None) -> Staged:
    """The stage of the pure machine, or of real actors of a flavour."""
    if flavour is None:
        return MachineStage
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.conformance.otp_live import on_stage  # noqa: PLC0415 - it imports this module

    return on_stage(flavour)


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a file; 0 if every scenario matches, 1 if not."""
    parser = argparse.ArgumentParser(description="Replay OTP supervisor scenarios against the supervision machine.")
    parser.add_argument("file", type=Path, help="scenarios with their traces, one JSON object a line")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the first scenario that differs")
    parser.add_argument("--live", choices=get_args(Flavour), help="with real actors of this flavour instead")
    options = parser.parse_args(arguments)
    scenarios = load(options.file)
    wrong = list(mismatches(scenarios, staged_for(options.live)))
    if wrong and options.verbose:
        sys.stdout.write(report(*wrong[0]))
    sys.stdout.write(f"{len(scenarios) - len(wrong)} of {len(scenarios)} scenarios match\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
