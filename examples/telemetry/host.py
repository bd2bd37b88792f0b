"""The figures of this host, as psutil reads them from the kernel."""

from __future__ import annotations

import platform
import time

import attrs
import psutil

from .messages import Sample


def counters() -> tuple[float, float, float, float]:
    """Return the bytes read, written, received and sent since the boot; a container may have no disks to count."""
    disk, net = psutil.disk_io_counters(), psutil.net_io_counters()
    read, written = (disk.read_bytes, disk.write_bytes) if disk else (0, 0)
    received, sent = (net.bytes_recv, net.bytes_sent) if net else (0, 0)
    return read, written, received, sent


@attrs.define
class Host:
    """Rates need a look back: one instance remembers the counters of its last sample."""

    at: float = attrs.field(init=False, factory=time.monotonic)
    seen: tuple[float, float, float, float] = attrs.field(init=False, factory=counters)

    def __attrs_post_init__(self) -> None:
        """Prime the CPU figure, which is a difference too."""
        psutil.cpu_percent()

    def sample(self) -> Sample:
        """Return the figures of now, and the rates since the last call."""
        return Sample(
            time.time(),
            psutil.cpu_percent(),
            psutil.virtual_memory().percent,
            psutil.disk_usage("/").percent,
            *self.rates(),
        )

    def rates(self) -> tuple[float, ...]:
        """Return the bytes per second read, written, received and sent since the last call."""
        now, seen = time.monotonic(), counters()
        elapsed = max(now - self.at, 0.001)
        rates = tuple(max(new - old, 0.0) / elapsed for new, old in zip(seen, self.seen, strict=True))
        self.at, self.seen = now, seen
        return rates


def describe() -> dict[str, str | int | float]:
    """Return what does not change while we look: name, system, cores, bytes of memory and disk, time of boot."""
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": psutil.cpu_count() or 1,
        "memory": psutil.virtual_memory().total,
        "disk": psutil.disk_usage("/").total,
        "boot": psutil.boot_time(),
    }
