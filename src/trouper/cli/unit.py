"""Unit files for systemd: what `trouper unit` prints."""

from __future__ import annotations

import re
import subprocess
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from trouper.cli.options import RUN_OPTIONS
from trouper.daemon.process import STOP_WITHIN

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

FOLDER = Path("/etc/systemd/system")
NOTIFY_RELOAD_SINCE = 253  # the version of systemd
LAST = 10  # seconds that systemd waits on after the deadline of the daemon's own stop

HOMES = "/home", "/root", "/run/user"

Type = Literal["notify", "notify-reload"]

HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM
UMask=0077"""


@attrs.frozen
class Unit:
    """A service of systemd, with its sockets.

    Args:
        name: of the unit, without `.service`.
        command: what it runs.
        folder: its working directory.
        type: `notify-reload` needs systemd 253.
        stop_within: seconds that the daemon's own stop may take.
        user: whom it runs as; None is a user that systemd makes up.
        watchdog: seconds without a turn of every lane after which it is killed and started anew.
        sockets: addresses that systemd listens at, by the name of the listener.
        writable: directories that it writes to.
    """

    name: str
    command: Sequence[str]
    folder: Path
    type: Type
    stop_within: float
    user: str | None
    watchdog: float
    sockets: Sequence[tuple[str, str]]
    writable: Sequence[Path]

    def files(self) -> dict[str, str]:
        """Return the contents of its files, by name."""
        files = {f"{self.name}.service": "\n".join(self.service()) + "\n"}
        for name, address in self.sockets:
            files[self.socket_unit(name)] = self.socket(name, address)
        return files

    def socket_unit(self, name: str) -> str:
        return f"{self.name}-{re.sub('[^A-Za-z0-9:_.-]', '_', name)}.socket"

    def service(self) -> Iterator[str]:
        sockets = " ".join(self.socket_unit(name) for name, _ in self.sockets)
        yield "[Unit]"
        yield f"Description={self.name}, run by trouper"
        yield "After=network.target"
        if sockets:
            yield f"Requires={sockets}"
            yield f"After={sockets}"
        yield "# a crash loop: five starts within five minutes, then it stays down"
        yield "StartLimitIntervalSec=300"
        yield "StartLimitBurst=5"
        yield ""
        yield "[Service]"
        yield f"Type={self.type}"
        yield "NotifyAccess=main"
        yield f"ExecStart={' '.join(quoted(word).replace('$', '$$') for word in self.command)}"
        if self.type == "notify":  # it says RELOADING=1 while the second command runs: the reload is waited for
            yield "ExecReload=kill -HUP $MAINPID"
            yield "ExecReload=sleep 0.2"
        yield f"WorkingDirectory={escaped(str(self.folder))}"
        if sockets:
            yield f"Sockets={sockets}"
        yield "Restart=on-failure"
        yield "RestartSec=1"
        yield "# the tree or its configuration is wrong: no restart mends it"
        yield "RestartPreventExitStatus=78"
        yield f"WatchdogSec={self.watchdog:g}"
        yield "KillMode=mixed"
        seconds = f"{self.stop_within + LAST:g}" if isfinite(self.stop_within) else "infinity"
        yield f"TimeoutStopSec={seconds}"
        yield "DynamicUser=yes" if self.user is None else f"User={self.user}"
        yield f"StateDirectory={self.name}"
        yield f"RuntimeDirectory={self.name}"
        if writable := " ".join(quoted(str(path)) for path in self.writable if not self.owns(path)):
            yield f"ReadWritePaths={writable}"
        yield ""
        yield from HARDENING.format(home="read-only" if self.in_a_home else "yes").splitlines()
        yield ""
        yield "[Install]"
        yield "WantedBy=multi-user.target"

    def socket(self, name: str, address: str) -> str:
        lines = ["[Unit]", f"Description={name} of {self.name}", "", "[Socket]"]
        lines += [f"ListenStream={escaped(address.removeprefix(':'))}", f"FileDescriptorName={escaped(name)}"]
        lines += [f"Service={self.name}.service", "", "[Install]", "WantedBy=sockets.target"]
        return "\n".join(lines) + "\n"

    @property
    def in_a_home(self) -> bool:
        """Whether what it runs lies where `ProtectHome=yes` would hide it."""
        return any(path.is_relative_to(home) for path in self.needs() for home in HOMES)

    def needs(self) -> list[Path]:
        """What it reads to begin: its directory and its interpreter, which in a venv is a link."""
        paths = [self.folder, Path(self.command[0])]
        return [*paths, *(path.resolve() for path in paths)]

    def closed(self) -> list[Path]:
        """Directories on the way there that are not open to everybody."""
        above = {folder for path in self.needs() for folder in path.parents}
        return sorted(folder for folder in {*above, self.folder} if not folder.stat().st_mode & 0o001)

    def owns(self, path: Path) -> bool:
        """Whether systemd makes this directory for it."""
        return path in {Path("/run", self.name), Path("/var/lib", self.name)}


def escaped(word: str) -> str:
    """For systemd, to which `%` means something."""
    return word.replace("%", "%%")


def quoted(word: str) -> str:
    """One word of a list of them."""
    word = escaped(word)
    if re.fullmatch(r"[\w@%+=:,./$-]+", word, re.ASCII):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def best_type() -> Type:
    """What the systemd of this host can do."""
    try:
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S607 - the one that is on the path
        version = int(said.split()[1])
    except (OSError, subprocess.CalledProcessError, IndexError, ValueError):
        return "notify"
    return "notify-reload" if version >= NOTIFY_RELOAD_SINCE else "notify"


def unit_of(options: argparse.Namespace) -> Unit:
    """What the options of `unit` ask for; those of `run` go into its command."""
    words = [sys.executable, "-m", "trouper", "run", options.target]
    for option, details in RUN_OPTIONS.items():
        value = getattr(options, details.get("dest", option[2:].replace("-", "_")))
        if value is not None:
            words += [option] if value is True else [option, f"{value:g}" if isinstance(value, float) else value]
    target = options.log_target if options.log_target not in {None, "stderr", "journal"} else None
    module = options.target.rpartition(":")[0]
    name = Path(module).stem if module.endswith(".py") else module.partition(".")[0]
    return Unit(
        name=options.name or name,
        command=words,
        folder=Path.cwd(),
        type=options.type or best_type(),
        stop_within=options.stop_within or STOP_WITHIN,
        user=options.user,
        watchdog=options.watchdog,
        sockets=options.socket,
        writable=[Path(path).absolute().parent for path in (options.lock, target) if path is not None],
    )


def write(unit: Unit, folder: Path | None) -> None:
    """Print its files as `systemctl cat` does, or put them into a directory."""
    if unit.user is None:
        for path in unit.closed():
            print(f"trouper: {path} is closed to the user that systemd makes up; --user names another", file=sys.stderr)
    for name, text in unit.files().items():
        if folder is None:
            print(f"# {FOLDER / name}\n{text}")
        else:
            (folder / name).write_text(text)
