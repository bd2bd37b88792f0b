"""trouper: an actor runtime for long-running Python daemons.

A trouper is an actor who keeps going whatever happens. Services are actors with typed mailboxes, each in trio, in
asyncio or in a thread of its own; trees of supervisors restart what fails.

```python
class Greet(Request[str]):
    name: str


@actor(flavour="trio")
class Greeter:
    async def receive(self, message: Greet) -> str:
        return f"hello, {message.name}"


run(one_for_one(child(Greeter)))
```

Everything public is here: `actor` and `child` describe actors, `one_for_one`, `one_for_all`, `rest_for_one`, `pool` and
`process` trees of them, `run` and `open_daemon` run a tree; `trouper.errors` and `trouper.events` draw their families
in one place each.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from trouper.actors.ask import ReplyTo
from trouper.actors.context import Context, current
from trouper.actors.definition import actor
from trouper.actors.inbox import Inbox, SyncInbox
from trouper.actors.ref import Ref
from trouper.actors.router import Router
from trouper.actors.timer import TimerHandle
from trouper.actors.watching import Terminated
from trouper.daemon import (
    Adopted,
    Daemon,
    Hook,
    Listener,
    Services,
    before,
    default_services,
    listener,
    run,
    service,
)
from trouper.errors import (
    ActorRestarted,
    ActorStopped,
    AlreadyReplied,
    AskError,
    AskTimeout,
    CallError,
    CallTimeout,
    CannotTravel,
    DaemonFailed,
    DaemonStopped,
    Declined,
    DefinitionError,
    DuplicateChild,
    Failure,
    FrameError,
    HookTimeout,
    LaneBroken,
    LeakedScope,
    LinkLost,
    MailboxFull,
    MessageTypeError,
    NameTaken,
    NotReady,
    NotRunning,
    OrphanedReturn,
    ReloadTimeout,
    RemoteError,
    ReplyDropped,
    ReplyTypeError,
    RestartLimitExceeded,
    SchemaMismatch,
    SelfAsk,
    Shutdown,
    SpecError,
    StartFailed,
    StartTimeout,
    StashFull,
    Stopping,
    StopTimeout,
    StrayCancellation,
    TrouperError,
    Unkillable,
    UnknownPath,
    UsageError,
    WorkerDied,
    WouldBlockLane,
)
from trouper.events import (
    ActorDeclined,
    ActorEnded,
    ActorHeld,
    ActorReleased,
    ActorStarted,
    ActorStarting,
    DaemonReady,
    DaemonReloaded,
    DaemonReloading,
    DaemonStopping,
    DeadLetter,
    Degraded,
    Escalated,
    Event,
    HandlerFailed,
    HookFailed,
    LaneStalled,
    Lost,
    MailboxOverflow,
    Recovered,
    Restarting,
    SignalReceived,
    Subscription,
    SupervisorEnded,
    SupervisorStarted,
    WorkerEnded,
    WorkerStarted,
)
from trouper.logs import ActorFilter, setup_logging
from trouper.mailbox.mailbox import Mailbox
from trouper.messages import Asked, Message, ReceiveTimeout, Request
from trouper.patience import Backoff, Persist
from trouper.reasons import Reason
from trouper.supervision.pool import Pool, pool
from trouper.supervision.snapshot import Snapshot
from trouper.supervision.spec import Child, Limit, Supervisor, child, one_for_all, one_for_one, rest_for_one

if TYPE_CHECKING:
    from trouper.daemon.embedded import open_daemon
    from trouper.workers.copies import Copies
    from trouper.workers.spec import Process, process
else:
    _LATER = {
        "Copies": "trouper.workers.copies",
        "Process": "trouper.workers.spec",
        "open_daemon": "trouper.daemon.embedded",
        "process": "trouper.workers.spec",
    }

    def __getattr__(name):  # noqa: ANN001, ANN202 - a type checker reads the imports above
        """Import what most daemons do without when it is asked for: it takes long, or imports asyncio."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__():  # noqa: ANN202 - the same
        return sorted({*globals(), *_LATER})


__all__ = [
    "ActorDeclined",
    "ActorEnded",
    "ActorFilter",
    "ActorHeld",
    "ActorReleased",
    "ActorRestarted",
    "ActorStarted",
    "ActorStarting",
    "ActorStopped",
    "Adopted",
    "AlreadyReplied",
    "AskError",
    "AskTimeout",
    "Asked",
    "Backoff",
    "CallError",
    "CallTimeout",
    "CannotTravel",
    "Child",
    "Context",
    "Copies",
    "Daemon",
    "DaemonFailed",
    "DaemonReady",
    "DaemonReloaded",
    "DaemonReloading",
    "DaemonStopped",
    "DaemonStopping",
    "DeadLetter",
    "Declined",
    "DefinitionError",
    "Degraded",
    "DuplicateChild",
    "Escalated",
    "Event",
    "Failure",
    "FrameError",
    "HandlerFailed",
    "Hook",
    "HookFailed",
    "HookTimeout",
    "Inbox",
    "LaneBroken",
    "LaneStalled",
    "LeakedScope",
    "Limit",
    "LinkLost",
    "Listener",
    "Lost",
    "Mailbox",
    "MailboxFull",
    "MailboxOverflow",
    "Message",
    "MessageTypeError",
    "NameTaken",
    "NotReady",
    "NotRunning",
    "OrphanedReturn",
    "Persist",
    "Pool",
    "Process",
    "Reason",
    "ReceiveTimeout",
    "Recovered",
    "Ref",
    "ReloadTimeout",
    "RemoteError",
    "ReplyDropped",
    "ReplyTo",
    "ReplyTypeError",
    "Request",
    "RestartLimitExceeded",
    "Restarting",
    "Router",
    "SchemaMismatch",
    "SelfAsk",
    "Services",
    "Shutdown",
    "SignalReceived",
    "Snapshot",
    "SpecError",
    "StartFailed",
    "StartTimeout",
    "StashFull",
    "StopTimeout",
    "Stopping",
    "StrayCancellation",
    "Subscription",
    "Supervisor",
    "SupervisorEnded",
    "SupervisorStarted",
    "SyncInbox",
    "Terminated",
    "TimerHandle",
    "TrouperError",
    "Unkillable",
    "UnknownPath",
    "UsageError",
    "WorkerDied",
    "WorkerEnded",
    "WorkerStarted",
    "WouldBlockLane",
    "actor",
    "before",
    "child",
    "current",
    "default_services",
    "listener",
    "one_for_all",
    "one_for_one",
    "open_daemon",
    "pool",
    "process",
    "rest_for_one",
    "run",
    "service",
    "setup_logging",
]
