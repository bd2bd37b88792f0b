"""Break the pure decisions on purpose, one small change at a time, and see whether a test notices.

`make mutants` prints every change that no test notices, a survivor, and how many changes there were. Survivors that
nobody could notice stand in `tools/mutants_explained.txt`, one a line: where, the line, what came of it, and why.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import os
import resource
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parent.parent
MODULES: Final = [
    "trouper.patience",
    "trouper.supervision.budget",
    "trouper.supervision.dynamic",
    "trouper.supervision.jobs",
    "trouper.supervision.machine",
    "trouper.supervision.members",
]
TESTS: Final = [  # the fast ones first: most changes are noticed there
    "tests/supervision/test_machine.py",
    "tests/supervision/test_machine_backoff.py",
    "tests/supervision/test_machine_hold.py",
    "tests/supervision/test_machine_optional.py",
    "tests/supervision/test_dynamic.py",
    "tests/supervision/test_patience.py",
    "tests/supervision/test_budget.py",
    "tests/conformance/test_otp_replay.py",
    "tests/supervision/test_dynamic_invariants.py",
    "tests/supervision/test_machine_invariants.py",
]
EXPLAINED: Final = ROOT / "tools" / "mutants_explained.txt"
SECONDS: Final = 60  # of processor time for each, six times what all tests take; what loops for ever is noticed, too

SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}


class Mutant(NamedTuple):
    """One change."""

    module: str
    function: str
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def key(self) -> str:
        """What stands in the file of explanations, before the reason."""
        return f"{self.module.rpartition('.')[2]}.{self.function} | {self.before} | {self.after}"


Change = Callable[[Any], ast.AST]
"""Does it to a copy of the node, and gives what to show of it."""


def mutants(module: str) -> Iterator[Mutant]:
    """Yield every change of a module's functions and methods; what stands outside of them only declares."""
    lines, tree = source(module).splitlines(), ast.parse(source(module))
    reached = {id(node): function.name for function in functions(tree) for node in ast.walk(function)}
    for number, node in enumerate(ast.walk(tree)):
        for change in changes(node) if id(node) in reached else ():
            changed = copy.deepcopy(tree)
            shown: Any = change(next(it for place, it in enumerate(ast.walk(changed)) if place == number))
            ast.fix_missing_locations(changed)
            line = shown.lineno
            after = " ".join(ast.unparse(shown).split())[:90]
            yield Mutant(module, reached[id(node)], line, lines[line - 1].strip(), after, changed)


def source(module: str) -> str:
    """The text of a module."""
    return (ROOT / "src" / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


def unchanged(module: str) -> tuple[str, ast.Module]:
    """A module as it is."""
    return module, ast.parse(source(module))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Yield functions and methods; not those that make functions: their work is done when the module is there."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from functions(node)
        elif isinstance(node, ast.FunctionDef) and not any(isinstance(it, ast.FunctionDef) for it in node.body):
            yield node


def changes(node: ast.AST) -> Iterator[Change]:
    """Yield what can be done to a node."""
    yield from swaps(node)
    if isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.Try | ast.match_case):
        for field in ("body", "orelse"):
            for place, statement in enumerate(getattr(node, field, ())):
                if removable(statement):
                    yield removal(field, place)


def swaps(node: ast.AST) -> Iterator[Change]:
    """Yield what can be done to an operator, a constant or a condition."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            yield put("ops", lambda it: [SWAPS[type(it.ops[0])]()])
        case ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield put("op", lambda it: SWAPS[type(it.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield put("operand", lambda it: ast.UnaryOp(ast.Not(), it.operand))
        case ast.Constant(value=bool()):
            yield put("value", lambda it: not it.value)
        case ast.Constant(value=int() | float()):
            yield put("value", lambda it: it.value + 1)
            yield put("value", lambda it: it.value - 1)
        case ast.If() | ast.IfExp() | ast.While():
            yield put("test", lambda it: ast.UnaryOp(ast.Not(), it.test))
        case _:
            pass


def put(field: str, value: Callable[[Any], Any]) -> Change:
    """Give a field of the node another value."""

    def change(node: Any) -> ast.AST:
        setattr(node, field, value(node))
        return node if hasattr(node, "lineno") and not isinstance(node, ast.If) else node.test

    return change


def removal(field: str, place: int) -> Change:
    """Take one statement out."""

    def change(node: Any) -> ast.AST:
        body = getattr(node, field)
        body[place] = ast.copy_location(ast.Pass(), body[place])
        return body[place]

    return change


def removable(statement: ast.stmt) -> bool:
    """Whether something is done there, and no name made that others need."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False  # a docstring
        case ast.Assign(targets=[ast.Name()]):
            return False
        case ast.Expr() | ast.Assign() | ast.AugAssign() | ast.Delete():
            return True
        case ast.Return(value=value):
            return value is None
        case _:
            return False


class Mutator:
    """A pytest plugin: collects the tests once, and runs them for each change in a process of its own."""

    def __init__(self, wanted: Sequence[Mutant]) -> None:
        self.wanted = wanted
        self.alive: list[Mutant] = []
        self.broken = True

    def pytest_configure(self) -> None:
        """Search for failing examples, not for the smallest one."""
        from hypothesis import Phase, settings  # noqa: PLC0415 - pytest wants to import it first

        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate], database=None, derandomize=True)
        settings.load_profile("mutants")

    def pytest_runtestloop(self, session: Any) -> bool:
        """In place of running the tests once."""
        self.broken = not self.survives(session)  # with all modules replaced, and unchanged
        if not self.broken:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                left = list(pool.map(lambda mutant: self.survives(session, mutant), self.wanted))
            self.alive = [mutant for mutant, survived in zip(self.wanted, left, strict=True) if survived]
        return True

    def survives(self, session: Any, mutant: Mutant | None = None) -> bool:
        """Whether all tests pass with this change."""
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            code = 1
            with contextlib.suppress(BaseException):
                for module, tree in [(mutant.module, mutant.tree)] if mutant else map(unchanged, MODULES):
                    put_in_place(module, tree)
                code = tested(session)
            os._exit(code)
        survived = os.waitpid(child, 0)[1] == 0
        if survived and mutant is not None:
            print(f"{mutant.key}  (line {mutant.line})", flush=True)
        return survived


def tested(session: Any) -> int:
    """In the child: 0 if no test notices."""
    from _pytest.main import pytest_runtestloop  # noqa: PLC0415 - pytest is imported by main

    with contextlib.suppress(session.Failed, session.Interrupted):
        pytest_runtestloop(session)
    return int(bool(session.testsfailed))


def put_in_place(name: str, tree: ast.Module) -> None:
    """Give the functions of a module the code of this tree."""
    module, changed = sys.modules[name], types.ModuleType(name)
    changed.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    sys.modules[name] = changed  # attrs looks there
    exec(compile(tree, str(module.__file__), "exec"), changed.__dict__)  # noqa: S102 - our own code, changed
    sys.modules[name] = module
    take_over(vars(module), vars(changed), name)


def take_over(old: Any, new: Any, name: str) -> None:
    """Function by function, class by class."""
    for key, was in list(old.items()):
        there, here = getattr(was, "fget", was), getattr(new.get(key), "fget", new.get(key))
        if getattr(there, "__module__", None) != name:
            continue
        if isinstance(there, types.FunctionType) and isinstance(here, types.FunctionType):
            if there.__code__.co_freevars == here.__code__.co_freevars:
                there.__code__ = here.__code__
                there.__defaults__, there.__kwdefaults__ = here.__defaults__, here.__kwdefaults__
        elif isinstance(there, type) and isinstance(here, type):
            take_over(vars(there), vars(here), name)


def explained() -> dict[str, str]:
    """The reasons of those that nobody could notice."""
    lines = EXPLAINED.read_text(encoding="utf-8").splitlines() if EXPLAINED.exists() else []
    rows = [line.rsplit(" | ", 1) for line in lines if line.strip() and not line.startswith("#")]
    return dict(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every change; 0 if each one was noticed or is explained."""
    parser = argparse.ArgumentParser(description="Break the pure decisions, and see whether a test notices.")
    parser.add_argument("modules", nargs="*", default=MODULES)
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    import pytest  # noqa: PLC0415 - with the path set

    mutator = Mutator([mutant for module in options.modules for mutant in mutants(module)])
    pytest.main(["-x", "-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", *TESTS], plugins=[mutator])
    if mutator.broken:
        print("the tests fail without any change")
        return 1
    all_of_them, alive = mutator.wanted, mutator.alive
    reasons = explained()
    unexplained = [mutant for mutant in alive if mutant.key not in reasons]
    for mutant in unexplained:
        print(f"not noticed: {mutant.key}  (line {mutant.line})")
    print(
        f"{len(all_of_them)} changes: {len(all_of_them) - len(alive)} noticed, "
        f"{len(alive) - len(unexplained)} explained, {len(unexplained)} not noticed"
    )
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main())
