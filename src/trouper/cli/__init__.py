"""The command line: `trouper run module:tree`, `trouper check module:tree`, `trouper unit module:tree`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from trouper.cli.options import RUNS_WITH, parser
from trouper.cli.target import BadTarget, load
from trouper.cli.unit import unit_of, write
from trouper.daemon.exits import WRONG_TREE
from trouper.daemon.process import run
from trouper.errors import TrouperError
from trouper.logs import setup_logging
from trouper.supervision.describe import check_tags, describe
from trouper.supervision.place import place

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main", "parser"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None is those of the process.

    Returns:
        The exit code; 78 if what was named is not there or is no tree. `run` does not return.
    """
    options = parser().parse_args(arguments)
    try:
        set_up_logging(options)
        tree = load(options.target)
        if options.command == "run":
            run(tree, **{name: value for name in RUNS_WITH if (value := getattr(options, name)) is not None})
        from trouper.workers.staff import check_processes  # noqa: PLC0415 - 20 modules that `run` can do without

        placed = place(tree)
        check_tags(placed)
        check_processes(placed)
        if options.command == "check":
            print("\n".join(describe(placed)))
        else:
            write(unit_of(options), options.into)
    except (BadTarget, TrouperError, OSError) as error:
        print(f"trouper: {error}", file=sys.stderr)
        return WRONG_TREE
    return 0


def set_up_logging(options: argparse.Namespace) -> None:
    """As the options say; without any, what is configured already stays."""
    given = {name: value for name in ("level", "layout", "target") if (value := getattr(options, f"log_{name}", None))}
    if options.command == "unit":  # they are for the daemon
        given.clear()
    if given or not logging.root.handlers:
        setup_logging(**given)
