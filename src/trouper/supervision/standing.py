"""What is kept of one supervisor, and how it goes on: its machine says what is to be done, and `pump` has it done.

The rest of the supervisor is built upon it, one layer a file: `deadlines`, `reports`, `orders`, `supervisor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trouper.supervision import actions as act
from trouper.supervision.deaths import Deaths

if TYPE_CHECKING:
    from trouper.actors.world import Boss, World
    from trouper.lanes.lane import Lane, Timer
    from trouper.supervision.dynamic import Dynamic
    from trouper.supervision.machine import Machine
    from trouper.supervision.node import Node
    from trouper.supervision.spec import Supervisor

CARRIED_OUT_BY: dict[type, str] = {
    act.Start: "do_start",
    act.Stop: "do_stop",
    act.Close: "do_close",
    act.Forget: "do_forget",
    act.Up: "do_up",
    act.Restarting: "do_restarting",
    act.Retry: "do_retry",
    act.Wait: "do_wait",
    act.Held: "do_held",
    act.Answer: "do_answer",
    act.BootFailed: "do_boot_failed",
    act.Down: "do_down",
    act.Stopped: "do_stopped",
}


class Standing:
    """One supervisor, over all its lives."""

    has_place = True  # of its own in the tree

    def __init__(  # noqa: PLR0917 - one place makes them
        self,
        world: World,
        lane: Lane,
        boss: Boss,
        name: str,
        path: str,
        spec: Supervisor,
    ) -> None:
        self.world, self.lane, self.boss = world, lane, boss
        self.name, self.path, self.spec = name, path, spec
        self.generation = self.halted = self.doomed = self.gone = 0
        self.since = 0.0
        self.deadline: Timer | None = None
        self.abandoned = self.killing = False
        self.declared: dict[str, Node] = {}
        self.nodes: dict[str, Node] = {}
        self.coming: dict[str, Node] = {}  # asked for, and not begun yet
        self.deaths = Deaths(path)
        self.held: set[str] = set()
        self.degraded: set[str] = set()
        self.awaited: dict[str, object] = {}  # whose restart a hook holds up
        self.postponed: list[act.Start] = []
        self.waits: dict[str, Timer] = {}  # for the end of whose backoff
        self.machine: Machine | Dynamic | None = None

    def pump(self) -> None:
        """Carry out the machine's actions, in order."""
        machine = self.machine
        if machine is None:
            return
        wanted = machine.actions
        while wanted:
            action = wanted.popleft()
            self.carry_out(action)

    def carry_out(self, action: act.Action) -> None:
        getattr(self, CARRIED_OUT_BY[type(action)])(action)

    def nothing_runs(self, node: Node, generation: int) -> None:
        """The answer to a `Stop`."""
        node.halted = 0
        if self.machine is not None:
            self.machine.stopped(node.name, generation, self.lane.now())
            self.pump()

    def below(self, name: str) -> str:
        return self.path + name if self.path == "/" else f"{self.path}/{name}"

    def path_of(self, node: Node) -> str:
        return self.below(node.name)
