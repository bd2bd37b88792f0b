"""trouper: an actor runtime for long-running Python daemons.

A trouper is an actor who keeps going whatever happens.
"""

from __future__ import annotations

from trouper import errors, events
from trouper.actors.ask import ReplyTo
from trouper.actors.context import Context, current
from trouper.actors.definition import actor
from trouper.actors.inbox import Inbox, SyncInbox
from trouper.actors.ref import Ref
from trouper.daemon import Daemon, open_daemon, run
from trouper.errors import *  # noqa: F403 - all errors are public
from trouper.mailbox.mailbox import Mailbox
from trouper.messages import Message, Request
from trouper.reasons import Reason
from trouper.supervision.spec import Child, Limit, Supervisor, child, one_for_all, one_for_one, rest_for_one
