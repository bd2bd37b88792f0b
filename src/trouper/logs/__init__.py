"""The log of a daemon: which actor a record is of, how it is laid out, and where it goes.

`setup_logging` is what `trouper run` calls; a program that has a logging configuration of its own takes `ActorFilter`
from here.
"""

from __future__ import annotations

from trouper.logs.whose import ActorFilter
from trouper.logs.writer import setup_logging

__all__ = ["ActorFilter", "setup_logging"]
