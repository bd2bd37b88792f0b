"""A daemon that watches its host: `trouper run examples/telemetry/app.py:tree`, then http://127.0.0.1:8321.

TELEMETRY_DB     the database file (~/.local/share/telemetry/telemetry.db)
TELEMETRY_PORT   the port of the page on 127.0.0.1 (8321)
TELEMETRY_RULES  what is worth an alert (cpu>85/15 memory>90/15 disk>90/60: percent, seconds)

sampler  --Sample-->           watcher     the windows, in the trio lane
sampler  --Sample-->           store       SQLite, in a thread of its own; so is the sampler
watcher  --Alert, History-->   store
web      --Next, Raised-->     watcher     Starlette and uvicorn, in the asyncio lane
web      --History, Alerts-->  store
"""

from __future__ import annotations

from trouper import Limit, child, one_for_one

from .roll import Roll
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
    roll=Roll(),
    port=settings.port,
)
# The web comes first: it is up before what it shows, and sees it come and go.
tree = one_for_one(web, store, watcher, sampler, restarts=Limit(10, within=10.0))
