"""What `trouper` gives to who imports it: these names, with their docstrings, and nothing heavy."""

from __future__ import annotations

import ast
import inspect
import pkgutil
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
    [later] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imports = [node for node in [*tree.body, *later.body] if isinstance(node, ast.ImportFrom)]
    ours = [alias for node in imports if str(node.module).startswith("trouper.") for alias in node.names]
    assert {alias.asname or alias.name for alias in ours} == set(NAMES)


def test_all_errors_and_events_are_public() -> None:
    assert set(NAMES) >= ERRORS | EVENTS


def test_the_tree_in_the_docstring_of_errors_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert sorted(name for name in ERRORS if name not in errors.__doc__) == []


def test_the_table_in_the_docstring_of_events_names_every_event() -> None:
    assert events.__doc__ is not None
    assert sorted(name for name in EVENTS - {"Event"} if f"`{name}`" not in events.__doc__) == []


def test_what_type_checkers_read_of_late_names_is_what_is_imported() -> None:
    tree = ast.parse(Path(inspect.getfile(trouper)).read_text())
    [later] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    read = {alias.name: node.module for node in later.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert read == vars(trouper)["_LATER"]


def test_all_names_are_told_by_dir_and_others_are_no_attributes() -> None:
    assert set(run_fresh("import trouper; print(*dir(trouper))").split()) >= set(NAMES)
    with pytest.raises(AttributeError, match="module 'trouper' has no attribute 'nonsense'"):
        getattr(trouper, "nonsense")  # noqa: B009 - type checkers refuse the attribute
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'trouper'"):
        exec("from trouper import nonsense")  # noqa: S102 - the very statement that is tested


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


def run_fresh(program: str) -> str:
    """What a program prints, in an interpreter that has imported nothing of ours."""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout


PROBE = """
import asyncio, sys, threading
import trouper
print(sorted({"psutil", "starlette", "uvicorn", "uvloop", "httpx", "setproctitle"} & set(sys.modules)))
print([thread.name for thread in threading.enumerate()], asyncio._get_running_loop())
"""


def test_the_import_brings_no_extra_and_starts_no_lane() -> None:
    assert run_fresh(PROBE).splitlines() == ["[]", "['MainThread'] None"]


PLAIN_DAEMON = """
import os, sys
before = set(sys.modules)
from trouper import one_for_one, run, service

@service(flavour="{flavour}")
class Service:
    {keyword} run(self):
        print(*sorted(set(sys.modules) - before), flush=True)
        os._exit(0)

Service()
run(one_for_one())
"""
HEAVY = {"asyncio", "concurrent.futures", "json", "multiprocessing", "pickle", "runpy"}
LATE = {"daemon.embedded", "lanes.asyncio_lane", "logs.json_layout", "workers.spec", "workers.staff"}


@pytest.mark.parametrize(("flavour", "keyword"), [("trio", "async def"), ("threading", "def")])
def test_the_start_of_a_plain_daemon_imports_nothing_that_it_does_not_need(flavour: str, keyword: str) -> None:
    imported = set(run_fresh(PLAIN_DAEMON.format(flavour=flavour, keyword=keyword)).split())
    assert {"trouper", "trouper.daemon.process"} <= imported
    assert imported & (HEAVY | {f"trouper.{name}" for name in LATE}) == set()
    assert {name.split(".")[1] for name in imported if name.startswith("trouper.")} & {"cli", "testing"} == set()


def test_the_flavour_asyncio_is_imported_where_it_is_named_and_not_in_the_daemon() -> None:
    program = (
        "import sys, trouper; trouper.service(flavour='asyncio')(type('S', (), {'run': run})); print(*sys.modules)"
    )
    names = run_fresh(f"async def run(self): ...\n{program}").split()
    assert {"asyncio", "trouper.lanes.asyncio_lane"} <= set(names)


def test_who_describes_processes_has_imported_what_runs_them() -> None:
    program = "from trouper import child, one_for_one, process; import sys; process(one_for_one()); print(*sys.modules)"
    assert {"trouper.workers.staff", "trouper.workers.forkserver"} <= set(run_fresh(program).split())


BEFORE_THE_FORK = """
import sys
from importlib import import_module
from trouper.workers.forkserver import PRELOADED
for name in PRELOADED:
    import_module(name)
print(*sys.modules)
"""
NOT_FOR_WORKERS = {"__main__", "cli", "daemon.embedded", "logs.json_layout", "testing", "supervision.describe"}


def test_a_forkserver_imports_all_of_the_runtime_before_it_forks() -> None:
    known = {info.name for info in pkgutil.walk_packages(trouper.__path__, "trouper.") if "__main__" not in info.name}
    left = known - set(run_fresh(BEFORE_THE_FORK).split())
    assert {name for name in left if not name.removeprefix("trouper.").startswith(tuple(NOT_FOR_WORKERS))} == set()
