"""Three counters share the words of a text: the same word always goes to the same one, so no two count it."""

from __future__ import annotations

from collections import Counter

import attrs

from trouper import Message, Request, Router, actor, child, one_for_one, pool, run

TEXT = "the wheel that squeaks the loudest is the one that gets the grease"


class Word(Message):
    text: str


class Counted(Request[dict[str, int]]): ...


@actor(flavour="trio")
class Counting:
    words: Counter[str] = attrs.field(factory=Counter, init=False)

    async def receive(self, message: Word | Counted) -> dict[str, int] | None:
        if isinstance(message, Counted):
            return dict(self.words)
        self.words[message.text] += 1
        return None


@actor(flavour="asyncio", restart="transient", significant=True)
class Reader:
    counters: Router[Word | Counted]

    async def run(self) -> None:
        for text in TEXT.split():
            self.counters.send(Word(text))
        shares = [await self.counters.worker(number).ask(Counted()) for number in range(1, self.counters.size + 1)]
        assert len(set().union(*shares)) == sum(len(share) for share in shares), "a word was counted in two places"
        print(max((count, word) for share in shares for word, count in share.items()))


def word_of(message: Word | Counted) -> str:
    """Return what one counter is to see all of."""
    return message.text if isinstance(message, Word) else ""


counters = pool(child(Counting), size=3, routing="hash", key=word_of, name="counters")
tree = one_for_one(counters, child(Reader, counters.ref), auto_shutdown="any_significant")
if __name__ == "__main__":
    run(tree)
