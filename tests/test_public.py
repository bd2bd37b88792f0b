"""What `trouper` gives to who imports it: these names, with their docstrings, and nothing heavy."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trouper
from trouper import errors, events

NAMES = trouper.__all__
ERRORS = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, BaseException)}
EVENTS = {name for name, value in vars(events).items() if inspect.isclass(value) and issubclass(value, events.Event)}


def test_all_is_sorted_and_without_repetition() -> None:
    assert sorted(set(NAMES)) == NAMES


def test_all_is_exactly_what_the_package_imports_for_its_users() -> None:
    tree = ast.parse(Path(inspect.getfile(trouper)).read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
    assert {alias.asname or alias.name for node in imports for alias in node.names} == set(NAMES)


def test_all_errors_and_events_are_public() -> None:
    assert set(NAMES) >= ERRORS | EVENTS


def test_the_tree_in_the_docstring_of_errors_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert sorted(name for name in ERRORS if name not in errors.__doc__) == []


def test_the_table_in_the_docstring_of_events_names_every_event() -> None:
    assert events.__doc__ is not None
    assert sorted(name for name in EVENTS - {"Event"} if f"`{name}`" not in events.__doc__) == []


def test_a_star_import_gives_the_public_names_only() -> None:
    space: dict[str, Any] = {}
    exec("from trouper import *", space)  # noqa: S102 - the very statement that is tested
    assert sorted(space.keys() - {"__builtins__"}) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(trouper, name)
    assert value.__doc__
    assert value.__doc__.strip()
    assert not inspect.isclass(value) or value.__dict__.get("__doc__")


def methods() -> Iterator[Any]:
    for name in NAMES:
        cls = getattr(trouper, name)
        if inspect.isclass(cls) and not issubclass(cls, BaseException):
            for attribute, value in vars(cls).items():
                function = value.fget if isinstance(value, property) else value
                if inspect.isfunction(function) and not attribute.startswith("_"):
                    yield pytest.param(function, id=f"{name}.{attribute}")


@pytest.mark.parametrize("function", list(methods()))
def test_every_public_method_has_a_docstring(function: Any) -> None:
    assert function.__doc__
    assert function.__doc__.strip()


PROBE = """
import asyncio, sys, threading
import trouper
print(sorted({"psutil", "starlette", "uvicorn", "uvloop", "httpx", "setproctitle"} & set(sys.modules)))
print([thread.name for thread in threading.enumerate()], asyncio._get_running_loop())
"""


def test_the_import_brings_no_extra_and_starts_no_lane() -> None:
    ran = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.splitlines() == ["[]", "['MainThread'] None"]
