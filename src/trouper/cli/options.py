"""The commands and their options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from trouper.daemon.listeners import ADDRESSES, listener
from trouper.errors import SpecError
from trouper.logs.writer import LAYOUTS, LEVELS


class Version(argparse.Action):
    """Tells the version."""

    def __init__(self, option_strings: list[str], dest: str, **details: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **details)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version  # noqa: PLC0415 - and email, csv, zipfile: only for this option

        print(f"trouper {version('trouper')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="trouper", description="Run trees of supervised actors.")
    top.add_argument("--version", action=Version, help="show the version and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("target", metavar="TARGET", help="module:attribute or path/file.py:attribute of the tree")
        if name == "check":
            command.add_argument("--log-level", choices=LEVELS, help=RUN_OPTIONS["--log-level"]["help"])
            continue
        for option, details in RUN_OPTIONS.items():
            command.add_argument(option, default=None, **details)
        if name == "unit":
            for option, details in UNIT_OPTIONS.items():
                command.add_argument(option, **details)
    return top


def seconds(text: str) -> float:
    if not float(text) > 0:
        raise ValueError
    return float(text)


def word(text: str) -> str:
    """A name as systemd allows it."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*", text) is None:
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed: letters, digits, and _ . : -")
    return text


def named_address(text: str) -> tuple[str, str]:
    """`NAME=ADDRESS`, an address where systemd is to listen."""
    name, _, address = text.partition("=")
    try:
        listener(name, bind=address)
    except SpecError as error:
        raise argparse.ArgumentTypeError(f"given {text!r}, allowed: NAME=ADDRESS, as http={ADDRESSES}") from error
    return name, address


COMMANDS = {
    "run": "run a tree as a daemon",
    "check": "validate a tree and print it",
    "unit": "print a unit file for systemd that runs a tree",
}
RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "--uvloop": {"action": "store_true", "help": "run the asyncio lane on uvloop (an extra)"},
    "--stop-within": {"type": seconds, "metavar": "SECONDS", "help": "for the whole stop (default: 60)"},
    "--stall-after": {
        "type": seconds,
        "metavar": "SECONDS",
        "help": "without a turn, after which a lane is reported (default: 5)",
    },
    "--lock": {"metavar": "PATH", "help": "a file that one instance at a time can hold; another one ends with 75"},
    "--log-level": {"choices": LEVELS, "help": "least level that is logged (default: info)"},
    "--log-format": {"choices": LAYOUTS, "dest": "log_layout", "help": "of log records (default: text)"},
    "--log-target": {
        "metavar": "TARGET",
        "help": "stderr, journal (of systemd) or the path of a file, for log records (default: stderr)",
    },
}
RUNS_WITH = "uvloop", "stop_within", "stall_after", "lock"
UNIT_OPTIONS: dict[str, dict[str, Any]] = {
    "--name": {"type": word, "help": "of the unit (default: that of the module)"},
    "--type": {
        "choices": ("notify", "notify-reload"),
        "help": "notify-reload needs systemd 253 (default: what the systemd of this host can do)",
    },
    "--user": {"type": word, "help": "whom it runs as (default: a user that systemd makes up, DynamicUser=)"},
    "--watchdog": {"type": seconds, "default": 30.0, "metavar": "SECONDS", "help": "WatchdogSec= (default: 30)"},
    "--socket": {
        "type": named_address,
        "action": "append",
        "default": [],
        "metavar": "NAME=ADDRESS",
        "help": "have systemd listen there, for the listener of this name; may be given again",
    },
    "--into": {"type": Path, "metavar": "DIRECTORY", "help": "write the files there, in place of printing them"},
}
