"""A stage manager who asks nobody whether they are still there: she watches, and hears of each end, and why."""

from __future__ import annotations

from trouper import Inbox, Terminated, actor, child, current, one_for_one, run


@actor(flavour="threading", restart="temporary")
class Player:
    trouble: str = ""

    def run(self) -> None:
        if self.trouble:
            raise RuntimeError(self.trouble)


@actor(flavour="asyncio", restart="transient", significant=True)
class StageManager:
    async def run(self, inbox: Inbox[Terminated]) -> None:
        me = current(self)
        cast = {me.spawn(child(Player)): "Ann", me.spawn(child(Player, "fell off the stage")): "Bob"}
        for player in cast:
            me.watch(player)
        while cast:
            end = await inbox.get()
            print(f"{cast.pop(end.ref)}: {end.reason}")


tree = one_for_one(child(StageManager), auto_shutdown="any_significant")
if __name__ == "__main__":
    run(tree)
