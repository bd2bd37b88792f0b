"""The command line: `trouper run module:tree`, `trouper check module:tree`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import sys
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trouper.daemon.exits import WRONG_TREE
from trouper.daemon.process import run
from trouper.errors import TrouperError, show
from trouper.supervision.describe import check_tags, describe
from trouper.supervision.place import place
from trouper.supervision.spec import Child, Supervisor
from trouper.workers.staff import check_processes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMAT = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"


class BadTarget(Exception):
    """What was named on the command line is not there, or is no tree; the text is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None is those of the process.

    Returns:
        The exit code; 78 if what was named is not there or is no tree. `run` does not return.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format=FORMAT)
    try:
        tree = load(options.target)
        if options.command == "run":
            run(tree, uvloop=options.uvloop)
        placed = place(tree)
        check_tags(placed)
        check_processes(placed)
    except (BadTarget, TrouperError) as error:
        print(f"trouper: {error}", file=sys.stderr)
        return WRONG_TREE
    print("\n".join(describe(placed)))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="trouper", description="Run trees of supervised actors.")
    top.add_argument("--version", action="version", version=f"trouper {version('trouper')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (("run", "run a tree as a daemon"), ("check", "validate a tree and print it")):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("target", metavar="TARGET", help="module:attribute or path/file.py:attribute of the tree")
        command.add_argument(
            "--log-level", choices=LEVELS, default="info", help="least level that is logged (default: info)"
        )
        if name == "run":
            command.add_argument("--uvloop", action="store_true", help="run the asyncio lane on uvloop (an extra)")
    return top


def load(target: str) -> Child[Any] | Supervisor:
    """Return the tree that `module:attribute` or `path/file.py:attribute` names.

    Raises:
        BadTarget: there is no such module, file or attribute, importing it fails, or it is no tree.
    """
    place_, colon, name = target.rpartition(":")
    if not colon or not place_ or not name:
        raise BadTarget(f"given {target!r}, allowed: module:attribute or path/file.py:attribute")
    module = module_from_file(Path(place_)) if place_.endswith(".py") else module_by_name(place_)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            trees = ", ".join(
                sorted(key for key, value in vars(module).items() if isinstance(value, Child | Supervisor))
            )
            raise BadTarget(f"{place_} has no attribute {name!r}; trees in it: {trees or 'none'}")
        found = getattr(found, part)
    if not isinstance(found, Child | Supervisor):
        raise BadTarget(f"{target} is {show(found)}, allowed: a supervisor or a child(...)")
    return found


def module_by_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise BadTarget(
            f"given {name!r} for a module, allowed: a name such as app or package.app, or a path that ends in .py"
        )
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise BadTarget(
                f"there is no module {name!r} (looked in the working directory and the installed packages)"
            ) from error
        raise failed_import(name, error) from error
    except (Exception, SystemExit) as error:
        raise failed_import(name, error) from error


def module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadTarget(f"there is no file {path}")
    name, folder = path.stem, path.resolve().parent
    while (folder / "__init__.py").is_file():  # a module of a package is imported as one, so that it finds its siblings
        name, folder = f"{folder.name}.{name}", folder.parent
    if name in sys.modules:
        raise BadTarget(
            f"{path} cannot be imported as {name!r}: a module of that name is loaded; give the file another name"
        )
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise failed_import(str(path), error) from error
    return module


def failed_import(name: str, error: BaseException) -> BadTarget:
    """One line for the user; the whole story at the level debug."""
    logging.getLogger("trouper").debug("importing %s failed:\n%s", name, "".join(traceback.format_exception(error)))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())
    at = f"{frame.filename}:{frame.lineno}"
    if isinstance(error, SyntaxError) and error.filename is not None:
        at, text = f"{error.filename}:{error.lineno}", error.msg
    return BadTarget(f"importing {name} failed at {at}: {type(error).__name__}: {text}")
