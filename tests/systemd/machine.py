"""A real systemd, PID 1 of namespaces of its own, that runs what `trouper unit` prints."""

from __future__ import annotations

import errno
import os
import shutil
import site
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Self

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROJECT = Path("/run/project")
PATIENCE = 30.0
TEMPORARY = Path("/tmp"), Path("/var/tmp")  # noqa: S108 - nothing is written there


def interpreter() -> tuple[str, list[str]]:
    """A Python that every user may run, with the options for a unit; that of the tests may lie in somebody's home."""
    if all(folder.stat().st_mode & 0o001 for folder in ROOT.parents):
        if all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents):
            return sys.executable, []
        if (system := shutil.which("python3", path="/usr/bin")) and version(system) == version(sys.executable):
            return system, []
    return sys.executable, ["--user", "root"]


def version(python: str) -> str:
    code = "import sys; print(sys.version_info[:2])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout


class Machine:
    """One booted systemd.

    Args:
        folder: an empty directory for its files.
        newer: an unpacked newer systemd, laid over the root of the host.
    """

    def __init__(self, folder: Path, newer: Path | None = None) -> None:
        hidden = [place for place in (ROOT, Path(sys.prefix)) for top in TEMPORARY if place.is_relative_to(top)]
        if hidden:
            pytest.skip(f"a hardened unit has temporary directories of its own, and would not see {hidden[0]}")
        self.folder, self.newer = folder, newer
        self.python, self.options = interpreter()
        with (folder / "boot").open("w") as said:
            booted = subprocess.run(
                ["timeout", "-k", "1", "30", HERE / "boot.sh", folder, *([newer] if newer else [])],  # noqa: S607 - the one on the path
                stdout=said,
                stderr=said,
                env={**os.environ, "SHOW": f"{ROOT} {sys.prefix} {sys.base_prefix} {folder}"},
                check=False,
            )
        if booted.returncode != 0:
            self.close()
            pytest.skip(f"no systemd can be booted here: {(folder / 'boot').read_text()[-300:]}")
        self.pid = int((folder / "nspid").read_text())
        self.root = Path(f"/proc/{self.pid}/root")
        self.project = self.root / PROJECT.relative_to("/")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, and all that it runs."""
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / "pid").read_text()), 9)
        with suppress(OSError):
            cgroup = Path((self.folder / "cgroup").read_text().strip())
            until(lambda: not remove(cgroup))

    # -- inside ------------------------------------------------------------------------------------------------------
    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command inside; its output goes to a file, for who holds a pipe open would hold up its reader."""
        enter = ["nsenter", "-t", str(self.pid), "-p", "-m", "-i", "-u", "-C"]
        environment = [f"{key}={value}" for key, value in self.environment.items()]
        with (self.folder / "said").open("wb") as said:
            return subprocess.Popen(
                ["timeout", "-k", "1", str(PATIENCE), *enter, "env", "-C", PROJECT, *environment, *words],  # noqa: S607 - the one on the path
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command inside; its exit code and what it said."""
        code = self.start(*words).wait(PATIENCE + 2)
        return code, (self.folder / "said").read_text()

    def systemctl(self, *words: str) -> str:
        code, said = self.run("systemctl", "--no-pager", *words)
        assert code == 0, said
        return said

    @property
    def environment(self) -> Mapping[str, str]:
        path = [f"{ROOT}/src", str(ROOT)] + ([] if self.python == sys.executable else site.getsitepackages())
        return {"PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1"}

    # -- units -------------------------------------------------------------------------------------------------------
    def install(self, name: str, tree: str, *options: str, extra: str = "") -> str:
        """Put there what `trouper unit` writes, and beside it the little that the tests need; the name of the unit."""
        into = ["--into", str(self.folder / "units"), "--name", name, *self.options]
        target = f"tests.systemd.app:{tree}"
        code, said = self.run(self.python, "-m", "trouper", "unit", target, *into, *options)
        assert code == 0, said
        beside = self.folder / "units" / f"{name}.service.d" / "test.conf"
        beside.parent.mkdir()
        lines = [f'Environment="{key}={value}"' for key, value in self.environment.items()]
        beside.write_text("\n".join(["[Service]", *lines, extra, ""]))
        self.systemctl("daemon-reload")
        return name

    def show(self, name: str) -> dict[str, str]:
        """The properties of a unit."""
        lines = [line.partition("=") for line in self.systemctl("show", name).splitlines()]
        return {key: value for key, _, value in lines}

    def until_shown(self, name: str, **wanted: str) -> dict[str, str]:
        """Wait until a unit has these properties."""
        shown: dict[str, str] = {}

        def holds() -> bool:
            shown.update(self.show(name))
            return wanted.items() <= shown.items()

        assert until(holds), {key: shown[key] for key in wanted}
        return shown

    # -- what the actors meet ----------------------------------------------------------------------------------------
    def gate(self, name: str) -> Callable[[], None]:
        """Make a gate; what is returned opens it for one who waits there."""
        path = self.project / name
        with suppress(FileExistsError):
            os.mkfifo(path)
            path.chmod(0o666)

        def somebody_waits() -> bool:
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                return False
            return True

        def open_gate() -> None:
            assert until(somebody_waits), f"nobody waits at {name}"

        return open_gate

    def connect(self, name: str) -> bytes:
        """What is answered at a socket in the project's directory."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.project / name))
            return client.recv(100)


def until(holds: Callable[[], object]) -> bool:
    """Look again and again: nobody tells us."""
    end = monotonic() + PATIENCE
    while not holds():
        if monotonic() > end:
            return False
        sleep(0.02)
    return True


def remove(cgroup: Path) -> bool:
    """Remove what is empty of it; whether some of it is left."""
    for folder in sorted(cgroup.rglob("*"), reverse=True):
        if folder.is_dir():
            with suppress(OSError):
                folder.rmdir()
    with suppress(OSError):
        cgroup.rmdir()
    return cgroup.exists()
