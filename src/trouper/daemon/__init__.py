"""The daemon: one process (or one program that embeds it) running one tree, and services beside it."""

from __future__ import annotations

from trouper.daemon.adopted import Adopted
from trouper.daemon.before import Hook, before
from trouper.daemon.daemon import Daemon
from trouper.daemon.listeners import Listener, listener
from trouper.daemon.process import run
from trouper.daemon.service import service
from trouper.daemon.services import Services, default_services

__all__ = [
    "Adopted",
    "Daemon",
    "Hook",
    "Listener",
    "Services",
    "before",
    "default_services",
    "listener",
    "run",
    "service",
]
