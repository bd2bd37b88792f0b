"""The daemon: one process (or one program that embeds it) running one tree."""

from __future__ import annotations

from trouper.daemon.before import Hook, before
from trouper.daemon.daemon import Daemon
from trouper.daemon.embedded import open_daemon
from trouper.daemon.listeners import Listener, listener
from trouper.daemon.process import run

__all__ = ["Daemon", "Hook", "Listener", "before", "listener", "open_daemon", "run"]
