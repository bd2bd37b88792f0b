"""A guest who falls over after the first greeting: its supervisor picks it up, and it is greeted again."""

from __future__ import annotations

from trouper import Ref, Request, actor, child, current, one_for_one, run


class Greet(Request[str]):
    name: str


@actor(flavour="trio")
class Greeter:
    async def receive(self, message: Greet) -> str:
        return f"hello, {message.name}"


@actor(flavour="asyncio", restart="transient", significant=True)
class Guest:
    greeter: Ref[Greet]

    async def run(self) -> None:
        print(await self.greeter.ask(Greet(f"guest number {current(self).generation}")))
        assert current(self).generation > 1, "fell over"


tree = one_for_one(greeter := child(Greeter), child(Guest, greeter.ref), auto_shutdown="any_significant")
if __name__ == "__main__":
    run(tree)
