"""The test kit: a whole daemon in the thread of a test, in virtual time, in an order that a seed decides."""

from __future__ import annotations

from trouper.testing.errors import Leaked, TrialError, TrialStuck
from trouper.testing.leaks import no_leaks
from trouper.testing.probe import Probe
from trouper.testing.script import Decline, Fail, Fine, Hang, Script, Sleep, Step
from trouper.testing.trial import Trial

__all__ = [
    "Decline",
    "Fail",
    "Fine",
    "Hang",
    "Leaked",
    "Probe",
    "Script",
    "Sleep",
    "Step",
    "Trial",
    "TrialError",
    "TrialStuck",
    "no_leaks",
]
