"""What a daemon runs as its `__main__`, and how its workers import that."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any


def main_module() -> tuple[str, str] | None:
    """How another process can import what runs as `__main__` here; None if it cannot."""
    module: Any = sys.modules["__main__"]
    file, name = getattr(module, "__file__", None), getattr(module.__spec__, "name", None)
    if name == "__main__" and file is not None:  # of a directory or an archive, which is what was run
        file, name = Path(file).parent, None
    if name is not None:
        return "name", name
    return None if file is None or not Path(file).exists() else ("path", str(Path(file).resolve()))


def import_main(kind: str, where: str) -> None:
    """Import what the daemon runs as its `__main__`, under the name that `multiprocessing` has for that, too."""
    if "__mp_main__" in sys.modules:
        return
    import runpy  # noqa: PLC0415 - `run` looks into this module, and imports no main

    module = ModuleType("__mp_main__")
    # with the module in its place meanwhile: who makes a dataclass looks it up; `run_path` does that anyway
    run = runpy.run_path if kind == "path" else partial(runpy.run_module, alter_sys=True)
    importing.append(where)
    try:
        found = run(where, run_name="__mp_main__")
    finally:
        importing.pop()
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


importing: list[str] = []
"""The main module that is being imported in a process of a worker: `run` is refused meanwhile."""
