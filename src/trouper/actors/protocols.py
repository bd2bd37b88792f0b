"""What an actor class looks like to a type checker: this is how a mailbox is typed without a base class or a plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from trouper.actors.inbox import Inbox, SyncInbox

M_contra = TypeVar("M_contra", contravariant=True)


class Receives(Protocol[M_contra]):
    """The runtime takes the messages and passes them on, one at a time."""

    def receive(self, message: M_contra, /) -> Any:
        """Handle one message."""
        ...


class Runs(Protocol[M_contra]):
    """The actor loops itself over its inbox, in an async flavour."""

    def run(self, inbox: Inbox[M_contra], /) -> Any:
        """Work until it is time to stop."""
        ...


class RunsSync(Protocol[M_contra]):
    """The actor loops itself over its inbox, in a thread of its own."""

    def run(self, inbox: SyncInbox[M_contra], /) -> Any:
        """Work until it is time to stop."""
        ...


class Serves(Protocol):
    """The actor takes no messages."""

    def run(self) -> Any:
        """Work until it is time to stop."""
        ...
