"""A daemon that watches its host: `trouper run examples/telemetry/app.py:tree`, then http://127.0.0.1:8321.

    TELEMETRY_DB     the database file (a directory of yours by default)
    TELEMETRY_PORT   the port of the page on 127.0.0.1 (8321)
    TELEMETRY_RULES  what is worth an alert ("cpu>85/15 memory>90/15 disk>90/60": percent, seconds)

    sampler (threading)  --Sample-->  watcher (trio)  --Alert-->  store (threading, SQLite)
         `---------------Sample-------------------------------------^   ^
    web (asyncio: Starlette, uvicorn)  --Next, Raised--> watcher        |
         `---------------History, Alerts--------------------------------'
"""

from __future__ import annotations

from trouper import Limit, child, one_for_one

from .sampler import Sampler
from .settings import Settings
from .store import Store
from .watcher import Watcher
from .web import Web

settings = Settings.read()
store = child(Store, settings.database)
watcher = child(Watcher, store.ref, settings.rules)
sampler = child(Sampler, store=store.ref, watcher=watcher.ref)
web = child(
    Web,
    store=store.ref,
    watcher=watcher.ref,
    cast={"store": store.ref, "watcher": watcher.ref, "sampler": sampler.ref},
    rules=settings.rules,
    port=settings.port,
)
tree = one_for_one(store, watcher, sampler, web, restarts=Limit(10, within=30.0))
