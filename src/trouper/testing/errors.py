"""What goes wrong with a trial.

```
TrialError            the base
├── TrialStuck        the world does not come to rest, or waits for what never comes
└── Leaked            something is left over that should be gone
```
"""

from __future__ import annotations


class TrialError(AssertionError):
    """The base of what a trial finds wrong; a failed assertion for every test runner."""


class TrialStuck(TrialError):
    """The world does not come to rest at one instant, or waits for what never comes; the text says who, and where."""


class Leaked(TrialError):
    """Something is left over that should be gone; the text names it."""
