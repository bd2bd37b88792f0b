"""The actor that judges."""

from __future__ import annotations

import time

import attrs
import trio

from trouper import Ref, ReplyTo, actor, current

from .messages import Alert, Alerts, Crash, History, Next, OnPurpose, Raised, Sample
from .rule import Alarm, Rule


@actor(flavour=trio)
class Watcher:
    """Keeps the sliding windows in memory and raises alerts."""

    store: Ref[Alert | History | Alerts]
    rules: tuple[Rule, ...]
    alarms: list[Alarm] = attrs.field(init=False)
    waiting: list[ReplyTo[Sample]] = attrs.field(init=False, factory=list)

    async def on_start(self) -> None:
        """Look back at what is stored: a new generation knows what the last one knew."""
        self.alarms = [Alarm(rule) for rule in self.rules]
        since = time.time() - 2 * max((rule.over for rule in self.rules), default=0.0)
        samples = await self.store.ask(History(since))
        alerts = await self.store.ask(Alerts())
        for alarm in self.alarms:
            alarm.recall(samples, alerts)

    async def receive(self, message: Sample | Next | Raised | Crash) -> tuple[Alert, ...] | None:
        """Judge a sample; tell who asked."""
        match message:
            case Sample():
                self.judge(message)
                self.pass_on(message)
            case Next():
                self.waiting.append(current(self).reply_to(message))
            case Raised():
                return tuple(alarm.raised for alarm in self.alarms if alarm.raised)
            case Crash(why):
                raise OnPurpose(why)
        return None

    def judge(self, sample: Sample) -> None:
        """Show the sample to every alarm, and store what they say."""
        for alarm in self.alarms:
            if alert := alarm.see(sample):
                self.store.send(alert)

    def pass_on(self, sample: Sample) -> None:
        """Answer everybody who waits for the next sample."""
        waiting, self.waiting = self.waiting, []
        for reply in waiting:
            reply(sample)
