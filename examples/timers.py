"""A kettle that is looked at too early: timers, and a stash for who has to wait."""

from __future__ import annotations

from trouper import Message, Ref, Request, actor, child, current, one_for_one, run

BOILING = 100


class Pour(Request[str]): ...


class Warmer(Message): ...


@actor(flavour="trio")
class Kettle:
    degrees: int = 70

    async def on_start(self) -> None:
        current(self).every(0.01, Warmer(), key="heat")

    async def receive(self, message: Pour | Warmer) -> str | None:
        me = current(self)
        match message:
            case Warmer():
                self.degrees += 10
                print(f"{self.degrees} degrees")
                if self.degrees == BOILING:
                    me.cancel("heat")
                    me.unstash()
            case Pour() if self.degrees == BOILING:
                return "tea is ready"
            case Pour():
                me.stash(message)
        return None


@actor(flavour="asyncio", restart="transient", significant=True)
class Guest:
    kettle: Ref[Pour]

    async def run(self) -> None:
        print(await self.kettle.ask(Pour()))


tree = one_for_one(kettle := child(Kettle), child(Guest, kettle.ref), auto_shutdown="any_significant")
if __name__ == "__main__":
    run(tree)
