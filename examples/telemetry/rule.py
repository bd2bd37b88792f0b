"""When a figure is worth an alert."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import attrs

from .messages import Alert, Sample
from .window import Window

Metric = Literal["cpu", "memory", "disk"]
WRITTEN = re.compile(r"(?P<metric>cpu|memory|disk)>(?P<above>\d+(?:\.\d+)?)/(?P<over>\d+(?:\.\d+)?)")


@attrs.frozen
class Rule:
    """Alert when the mean of `metric` over `over` seconds is above `above` percent; clear it `margin` below that."""

    metric: str
    above: float
    over: float
    margin: float = 3.0

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read `cpu>80/10`: the mean of the CPU over 10 seconds above 80 percent."""
        found = WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(f"a rule is metric>percent/seconds, as in cpu>80/10 (cpu, memory or disk), not {text!r}")
        return cls(found["metric"], float(found["above"]), float(found["over"]))


@attrs.define
class Alarm:
    """One rule at work: it sees every sample and says when its state changes."""

    rule: Rule
    raised: Alert | None = attrs.field(default=None, init=False)
    window: Window = attrs.field(init=False, default=attrs.Factory(lambda me: Window(me.rule.over), takes_self=True))

    def recall(self, samples: Iterable[Sample], alerts: Iterable[Alert]) -> None:
        """Go on where an earlier alarm of this rule was, from its samples and its alerts, the newest of these first."""
        for sample in samples:
            self.window.add(sample.at, getattr(sample, self.rule.metric))
        rule = (self.rule.metric, self.rule.above, self.rule.over)
        last = next((alert for alert in alerts if (alert.metric, alert.above, alert.over) == rule), None)
        self.raised = last if last and last.state == "raised" else None

    def see(self, sample: Sample) -> Alert | None:
        """Return the alert to send, if the sample changed anything."""
        self.window.add(sample.at, getattr(sample, self.rule.metric))
        if self.raised is None:
            if not self.window.settled or self.window.mean <= self.rule.above:
                return None
            self.raised = self.alert(sample.at, "raised")
            return self.raised
        if self.window.mean > self.rule.above - self.rule.margin:
            return None
        self.raised = None
        return self.alert(sample.at, "cleared")

    def alert(self, at: float, state: Literal["raised", "cleared"]) -> Alert:
        """Return this alarm's state as a message."""
        return Alert(at, self.rule.metric, state, self.window.mean, self.rule.above, self.rule.over)
