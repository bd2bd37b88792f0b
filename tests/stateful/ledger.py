"""The ledger: what really happened, told by the actors themselves. In a trial one thread runs at a time."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from tests.actors.stage import ask
from trouper import AskError, Context, MailboxFull, Message, Ref, Request, Router, UsageError
from trouper.actors.cell import Cell
from trouper.lanes.slot import Slot


class Word(Message):
    id: int
    deed: Any


class Question(Request[int]):
    """Answered with its own number."""

    id: int
    deed: Any


class Life(NamedTuple):
    """One generation of an actor, and how far it is."""

    cell: Cell
    generation: int
    stage: str


class Ledger:
    """What happened, and in `wrong` what must not happen."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.alive: dict[str, Life] = {}
        self.begun_lives: set[tuple[Cell, int]] = set()
        self.up_lives: set[tuple[Cell, int]] = set()
        self.stopped_lives: set[tuple[Cell, int]] = set()
        self.handling: dict[str, int] = {}  # which letter, by path
        self.sent: dict[int, Ref[Any]] = {}
        self.own: dict[int, int] = {}  # letters to oneself, by timer: in which generation
        self.early: set[int] = set()  # for whom had no place in the tree yet: they wait for that, if there is room
        self.refused: set[int] = set()  # by a full mailbox that rejects
        self.stashed: set[int] = set()
        self.begun: Counter[int] = Counter()
        self.done: Counter[int] = Counter()
        self.asks: dict[int, object] = {}  # what each came to
        self.watches: set[tuple[Cell, int, Ref[Any]]] = set()
        self.hanging: list[Slot[None]] = []

    def check(self, holds: object, text: str) -> None:
        if not holds:
            self.wrong.append(text)

    # -- lives -------------------------------------------------------------------------------------------------------
    def below(self, path: str) -> list[str]:
        """Who is alive below a path."""
        return [other for other in self.alive if other.startswith(path.rstrip("/") + "/")]

    def at(self, path: str) -> list[str]:
        """Who is alive at a path or below it."""
        return [*self.below(path), *([path] if path in self.alive else [])]

    def starting(self, me: Context[Any]) -> None:
        life = me._cell, me.generation
        self.check(me.path not in self.alive, f"{life} starts beside {self.alive.get(me.path)}")
        self.check(life not in self.begun_lives, f"{life} starts twice")
        self.begun_lives.add(life)
        self.alive[me.path] = Life(*life, "starting")

    def up(self, me: Context[Any]) -> None:
        self.up_lives.add((me._cell, me.generation))
        self.alive[me.path] = Life(me._cell, me.generation, "up")

    def stopping(self, me: Context[Any]) -> None:
        life = me._cell, me.generation
        self.check(life not in self.stopped_lives, f"{life} stops twice")
        self.check(self.alive.get(me.path) == (*life, "up"), f"{life} stops and is {self.alive.get(me.path)}")
        self.check(not self.below(me.path), f"{life} stops before what it spawned: {self.below(me.path)}")
        self.stopped_lives.add(life)
        self.alive[me.path] = Life(*life, "stopping")

    def over(self, path: str, generation: int) -> None:
        life = self.alive.pop(path, None)
        self.check(life is not None and life.generation == generation, f"{path} {generation} ends, alive is {life}")
        self.watches = {watch for watch in self.watches if life is None or watch[:2] != life[:2]}

    # -- what hangs --------------------------------------------------------------------------------------------------
    def hang(self) -> Slot[None]:
        slot: Slot[None] = Slot()
        self.hanging.append(slot)
        return slot

    def release(self) -> None:
        hanging, self.hanging = self.hanging, []
        for slot in hanging:
            slot.put(None)

    # -- messages ----------------------------------------------------------------------------------------------------
    def letter(self, to: Ref[Any], kind: type[Any], deed: Any) -> Any:
        letter = kind(len(self.sent) + 1, deed)
        self.sent[letter.id] = to
        if not has_place(to):
            self.early.add(letter.id)
        return letter

    def tell(self, to: Ref[Any], deed: Any) -> None:
        letter = self.letter(to, Word, deed)
        try:
            to.send(letter)
        except MailboxFull:
            self.refused.add(letter.id)

    async def query(self, to: Ref[Any], deed: Any, timeout: float | None) -> None:
        question = self.letter(to, Question, deed)
        self.asks[question.id] = outcome = "open"
        try:
            answer = await ask(to, question, timeout)
            outcome = "answered"
            self.check(answer == question.id, f"{question} was answered {answer}")
        except AskError as error:
            outcome = repr(error)
        except (MailboxFull, UsageError) as error:  # or it asked itself
            self.refused.add(question.id)
            outcome = repr(error)
        except BaseException:
            outcome = "given up"
            raise
        finally:
            self.asks[question.id] = outcome

    def begin(self, me: Context[Any], letter: Word | Question) -> None:
        life, to = self.alive.get(me.path), self.sent.get(letter.id)
        self.check(life == (me._cell, me.generation, "up"), f"{me} handles {letter} and is {life}")
        self.check(to is me.self_ref or isinstance(to, Router), f"{me} got {letter}, which is for {to}")
        self.check(self.own.get(letter.id, me.generation) == me.generation, f"{me} got {letter} of an earlier timer")
        self.check(not self.begun[letter.id], f"{me} got {letter} a second time")
        self.begun[letter.id] += 1
        self.handling[me.path] = letter.id

    def end(self, me: Context[Any], letter: Word | Question) -> None:
        self.done[letter.id] += 1

    def hear(self, me: Context[Any], ref: Ref[Any]) -> None:
        """A watched actor has ended for good."""
        watch = me._cell, me.generation, ref
        self.check(watch in self.watches, f"{me} hears of the end of {ref} and does not watch it")
        self.watches.discard(watch)


def has_place(ref: Ref[Any]) -> bool:
    """Whether it stands in the tree, or stood there."""
    return (ref.routes.boss if isinstance(ref, Router) else ref.cell) is not None
