"""Trees by name: `module:attribute`, or `path/file.py:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trouper.errors import show
from trouper.supervision.spec import Child, Supervisor

if TYPE_CHECKING:
    from types import ModuleType


class BadTarget(Exception):
    """What was named on the command line is not there, or is no tree; the text is one line."""


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
