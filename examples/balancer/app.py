"""As many workers as the host has room for: `trouper run examples/balancer/app.py:tree`, then http://127.0.0.1:8322.

BALANCER_BAND   the load to keep, in percent of all cores (40-70)
BALANCER_MOST   how many workers at most (16)
BALANCER_PORT   the port of the desk on 127.0.0.1 (8322)

meter       --Load-->     controller   the host's load, read in a thread of its own
controller  --resize-->   workers      a feedback loop in the trio lane; a pool of threads
desk        --Status-->   controller   one answer a connection, in the asyncio lane
"""

from __future__ import annotations

import os

import psutil

from trouper import child, one_for_one, pool

from .controller import Band, Controller
from .desk import Desk
from .meter import Meter
from .worker import Worker

band = Band.parse(os.environ.get("BALANCER_BAND", "40-70"), most=int(os.environ.get("BALANCER_MOST", "16")))
workers = pool(child(Worker), size=1, name="workers")
controller = child(Controller, band, workers.ref)
meter = child(Meter, psutil.cpu_percent, controller.ref)
desk = child(Desk, controller.ref, int(os.environ.get("BALANCER_PORT", "8322")))
tree = one_for_one(workers, controller, meter, desk)
