"""How a user tests actors: a thermostat, and tests of it in virtual time. Run it with pytest, or as a script."""

from __future__ import annotations

from trouper import Message, Ref, Request, actor, child, current, one_for_one
from trouper.events import ActorEnded, Restarting
from trouper.testing import Fail, Probe, Script, Trial


class Reading(Message):
    celsius: float


class Heat(Message):
    on: bool


class Last(Request[float | None]):
    """The last reading, please."""


@actor(flavour="trio")
class Thermostat:
    """Heats when it is cold."""

    heater: Ref[Heat]
    last: float | None = None

    async def receive(self, message: Reading | Last) -> float | None:
        if isinstance(message, Last):
            return self.last
        if message.celsius < -273.15:
            raise ValueError(f"{message.celsius} degrees")
        self.last = message.celsius
        self.heater.send(Heat(on=message.celsius < 18))
        return None


@actor(flavour="threading")
class Sensor:
    """Reads a slow device, in a thread of its own."""

    thermostat: Ref[Reading]
    device: list[float]

    def run(self) -> None:
        for celsius in self.device:
            current(self).sleep_sync(60)
            self.thermostat.send(Reading(celsius))
        current(self).sleep_sync(1e9)


def test_it_heats_when_it_is_cold() -> None:
    heater = Probe(Heat)
    thermostat = child(Thermostat, heater.ref)
    sensor = child(Sensor, thermostat.ref, [20.0, 15.0])
    with Trial(one_for_one(thermostat, sensor), probes=[heater]) as t:
        heater.expect_none(within=59)
        heater.expect(Heat(on=False), within=1)
        heater.expect(Heat(on=True), within=60)
        assert t.ask(thermostat.ref, Last()) == 15
        assert t.now == 120  # two minutes of a sensor, and no real second


def test_a_reading_that_cannot_be_restarts_it() -> None:
    thermostat = child(Thermostat, Probe(Heat).ref)
    with Trial(one_for_one(thermostat), seed=1) as t:
        thermostat.ref.send(Reading(-300))
        t.advance(1)
        (ended,) = t.events_of(ActorEnded)
        assert isinstance(ended.reason.cause, ValueError)
        assert t.ask(thermostat.ref, Last()) is None  # it has forgotten


def test_a_device_that_is_away_for_a_while_is_tried_again() -> None:
    script = Script()
    tree = one_for_one(child(script.actor("threading")).options(name="sensor"))
    with Trial(tree) as t:
        script.on_start(*[Fail(OSError("no such device"))] * 2)
        script.crash(OSError("unplugged"))
        t.advance(60)
        assert len(t.events_of(Restarting)) == 3
        assert [step.generation for step in script.steps if step.what == "started"] == [1, 4]


if __name__ == "__main__":
    test_it_heats_when_it_is_cold()
    test_a_reading_that_cannot_be_restarts_it()
    test_a_device_that_is_away_for_a_while_is_tried_again()
    print("the thermostat is fine")
