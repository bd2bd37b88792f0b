"""The pytest plugin: the fixture `trial`, with a seed from the command line.

```python
def test_restart(trial):
    with trial(tree) as t:
        t.advance(10)
```

`pytest --trouper-seed=7` has all of them run with that seed, `--trouper-seed=random` with one drawn for this run. What
fails says its seed. It works beside pytest-trio and pytest-asyncio, in sync and async tests alike.
"""

from __future__ import annotations

from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from trouper.testing.trial import Trial

SEEDS = 2**32
chosen = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--trouper-seed`."""
    parser.getgroup("trouper").addoption(
        "--trouper-seed",
        default="0",
        metavar="N",
        help="seed of the `trial` fixture: a number, or `random` for one drawn for this run (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of this run."""
    given = str(config.getoption("--trouper-seed"))
    try:
        config.stash[chosen] = SystemRandom().randrange(SEEDS) if given == "random" else int(given)
    except ValueError:
        raise pytest.UsageError(f"--trouper-seed: given {given!r}, allowed: a number, or random") from None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say the seed, if it is not the usual one."""
    seed = config.stash[chosen]
    return f"trouper: --trouper-seed={seed}" if seed else None


@pytest.fixture
def trouper_seed(request: pytest.FixtureRequest) -> int:
    """The seed of this run; a test may give another one, by its parameters or a fixture of the same name."""
    return request.config.stash[chosen]


@pytest.fixture
def trial(trouper_seed: int) -> Callable[..., Trial]:
    """As `trouper.testing.Trial`, with the seed of this run."""
    from trouper.testing.trial import Trial  # noqa: PLC0415 - only tests that want it pay for it

    return partial(Trial, seed=trouper_seed)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test says its seed."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and "trial" in fixtures:
        seed = fixtures.get("trouper_seed", item.config.stash[chosen])
        report.sections.append(("trouper", f"replay with --trouper-seed={seed}"))
    return report
