"""Signals of a real process: what each does, and that none of them can be held up."""

from __future__ import annotations

import re
import sys
from signal import SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2

import pytest

from tests.daemon.program import run_code, run_tree

# -- reload ------------------------------------------------------------------------------------------------------------


def test_sighup_reloads_in_start_order_and_one_that_fails_crashes_alone() -> None:
    with run_tree("reloads") as program:
        program.until_logged("ready after")
        program.signal(SIGHUP)
        program.until_said("reloaded, but not ('/reloads_in_thread',)")
        assert program.said == [
            "heard SIGHUP\n",
            "ReloadsInTrio reloads in trouper trio\n",
            "ReloadsInAsyncio reloads in trouper asyncio\n",
            "ReloadsInThread reloads in /reloads_in_thread\n",
            "reloaded, but not ('/reloads_in_thread',)\n",
        ]
        program.until_logged("/reloads_in_thread: generation 1 ended")
        program.signal(SIGHUP)
        program.until_said("reloaded, but not ()")
        assert program.stop(SIGTERM) == 0
        assert "reloaded 2 of 3 actors" in program.log
        assert "reloaded 3 of 3 actors" in program.log


def test_signals_are_events_and_sigusr2_is_nothing_else() -> None:
    with run_tree("hears_signals") as program:
        program.until_logged("ready after")
        before = program.log
        for _ in range(2):
            program.signal(SIGUSR2)
            program.until_said("heard SIGUSR2")
            program.said.remove("heard SIGUSR2\n")
        assert program.log == before
        assert program.stop(SIGTERM) == 0
        assert program.said == ["heard SIGTERM\n", "stopping: SIGTERM\n"]


# -- what runs ---------------------------------------------------------------------------------------------------------


def test_sigusr1_writes_the_tree_and_all_stacks_while_a_lane_is_blocked() -> None:
    with run_tree("at_work") as program:
        for line in ("sits", "handles", "waits"):
            program.until_said(line)
        program.until_logged("ready after")
        program.signal(SIGUSR2)
        program.until_said("blocks")
        program.signal(SIGUSR1)
        sits = re.compile(r"\n/sits:\n(.*\n)*.* in receive\n")  # it says so before it does
        program.wait(lambda: any(map(sits.search, program.records("SIGUSR1: the other threads"))))
        [tree] = program.records("SIGUSR1: the tree")
        assert re.search(r"\n  handles: running, Handles, generation 1, up \S+ s, 1 waiting\n", tree)
        assert re.search(r"\n  sits: running, Sits, generation 1, up \S+ s, 1 waiting\n", tree)
        [asyncio_lane] = program.records("SIGUSR1: the asyncio lane")
        assert re.search(r"\n/handles over Beat\(count=0\):\n(.*\n)*.* in wait_long\n", asyncio_lane)
        [trio_lane] = program.records("SIGUSR1: the trio lane in /blocker over Block(how='sleep')")
        assert "in block\n    threading.Event().wait()\n" in trio_lane
        assert re.search(r"\n/waits over Beat\(count=2\):\n(.*\n)*.* in wait_in_trio\n", trio_lane)
        program.signal(SIGTERM)
        program.until_logged("stopping: SIGTERM")
        assert program.stop(SIGTERM) == 128 + SIGTERM


def test_sigusr1_does_no_harm_where_the_system_has_no_more_threads_and_last_words_are_said_all_the_same() -> None:
    script = """
import atexit, signal, threading
from tests.daemon.trees import hears_signals, say
from trouper import run

def deny(thread):
    if thread.name in {"trouper report", "trouper last words"}:
        raise RuntimeError("can't start new thread")
    start(thread)

start, threading.Thread.start = threading.Thread.start, deny
atexit.register(lambda: say(f"last words, under a deadline: {signal.getitimer(signal.ITIMER_REAL)[0] > 0}"))
run(hears_signals)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        program.signal(SIGUSR1)
        program.until_logged("SIGUSR1: no report of what runs: can't start new thread")
        assert program.stop(SIGTERM) == 0
        assert program.said[-1] == "last words, under a deadline: True\n"


# -- a stop can always be cut short ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(SIGTERM, SIGTERM), (SIGTERM, SIGINT), (SIGINT, SIGTERM)])
def test_a_second_signal_ends_a_process_whose_log_hangs(first: int, second: int) -> None:
    with run_tree("log_hangs") as program:
        program.until_logged("ready after")
        program.signal(first)
        program.until_said("hangs in MainThread")
        assert program.stop(second) == 128 + second
        assert program.seconds_to_end < 5


def test_a_second_signal_ends_a_process_whose_control_lane_hangs() -> None:
    with run_tree("listener_hangs") as program:
        program.until_said("hangs in MainThread")
        program.signal(SIGTERM)
        assert program.stop(SIGINT) in {128 + SIGTERM, 128 + SIGINT}  # nobody says that the first has come
        assert program.seconds_to_end < 5


def test_signals_in_the_middle_of_a_log_record_harm_nothing() -> None:
    with run_tree("signals_in_the_log") as program:
        assert program.end() == 0
        assert program.said == [
            "the record goes on\n",
            *(f"heard {name}\n" for name in ("SIGUSR2", "SIGUSR1", "SIGHUP", "SIGTERM")),
            "stopping: SIGTERM\n",
        ]


def test_a_third_signal_cuts_the_last_words_of_a_process_that_a_second_one_ended() -> None:
    script = """
import atexit, signal, threading
from tests.daemon.trees import slow_to_stop, say
from trouper import run

def last():
    say("last words")
    threading.Event().wait()

atexit.register(last)
run(slow_to_stop)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        program.signal(SIGTERM)
        program.until_said("stop hangs")
        program.signal(SIGTERM)
        program.until_said("last words")
        assert program.stop(SIGTERM) == 128 + SIGTERM
        assert program.seconds_to_end < 2


@pytest.mark.parametrize("tree", ["gives_up", "boot_gives_up"])
def test_a_signal_while_the_root_gives_up_does_not_hide_the_failure(tree: str) -> None:
    with run_tree(tree) as program:
        program.until_said("stop waits")
        assert program.stop(SIGTERM) == 70
        assert program.said[-1] == "stop goes on\n"
        [record] = program.records("a failure reached the root")
        assert "Stumble" in record
        assert program.seconds_to_end < 5


def test_the_signal_that_it_ends_for_does_not_cut_the_last_words_when_the_ear_is_slow() -> None:
    script = """
import atexit, threading
from tests.daemon.trees import hears_signals, say
from trouper import run
from trouper.daemon.signals import Signals

def slow(signals, number):
    signals.answered.wait()
    told(signals, number)
    heard.set()

def last():
    heard.wait()
    say("last words")

heard, told, Signals.told_to_end = threading.Event(), Signals.told_to_end, slow
atexit.register(last)
run(hears_signals)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        assert program.stop(SIGTERM) == 0
        assert program.said[-1] == "last words\n"


def test_the_timeout_that_a_program_has_for_its_sockets_does_not_deafen_it_to_signals() -> None:
    script = """
import socket, threading, time
from trouper import child, one_for_one, run, service

socket.setdefaulttimeout(0.01)

@service(flavour="threading")
class Looks:
    def run(self):
        [ear] = [thread for thread in threading.enumerate() if thread.name == "trouper signals"]
        ear.join(0.1)
        print("hears" if ear.is_alive() else "is deaf", flush=True)

looks = Looks()
run(one_for_one())
"""
    with run_code(script) as program:
        program.until_said("hears")
        assert program.stop(SIGTERM) == 0


# -- whose signals they are --------------------------------------------------------------------------------------------


def test_what_was_ignored_stays_ignored_but_sigterm() -> None:
    script = """
import signal
from tests.daemon.trees import hears_signals
from trouper import run

for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
run(hears_signals)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        for number in (SIGHUP, SIGINT, SIGUSR1):
            program.signal(number)
        program.signal(SIGUSR2)
        program.until_said("heard SIGUSR2")
        assert program.stop(SIGTERM) == 0
        assert program.said == ["heard SIGUSR2\n", "heard SIGTERM\n", "stopping: SIGTERM\n"]
        assert "SIGHUP is ignored, as it was before" in program.log


def test_a_signal_to_a_forked_child_is_its_own() -> None:
    """Even one that comes before its first line of Python; it finds the handlers that were there before `run`."""
    script = """
import os, signal, sys, threading
from tests.daemon.trees import say
from trouper import actor, child, run

@actor(flavour=threading)
class Forks:
    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2) * 5:
            pid = os.fork()
            if pid == 0:
                threading.Event().wait()
            os.kill(pid, number)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number
        if sys.version_info[:2] == (3, 13):  # there a child that a thread forked calls no handler, whoever set it
            say("ended by their signals")
            self.ended.wait()
            return
        heard, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(tell, b"!")
                threading.Event().wait()
            except KeyboardInterrupt:
                os._exit(3)
        os.read(heard, 1)
        os.kill(pid, signal.SIGINT)
        say(f"interrupted: {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")
        self.ended.wait()

    ended: threading.Event
    def interrupt(self) -> None:
        self.ended.set()

run(child(Forks, threading.Event()))
"""
    with run_code(script) as program:
        program.until_said("ended by their signals" if sys.version_info[:2] == (3, 13) else "interrupted: 3")
        assert "stopping" not in program.log
        assert program.stop(SIGTERM) == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
@pytest.mark.parametrize("set_before", [True, False])
def test_last_words_have_the_handlers_that_were_there_before_run_but_for_what_cuts_them_short(
    set_before: bool, number: int
) -> None:
    """Where there were none, what would change the exit code is ignored. Nobody else hears SIGTERM and SIGINT."""
    script = f"""
import atexit, os, signal, threading
from tests.daemon.trees import hears_signals, say
from trouper import run

heard = set()

def somebodys(number, frame):
    heard.add(number)
    if number in (signal.SIGTERM, signal.SIGINT):
        say("somebody heard what cuts the last words short")

def last():
    for one in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), one)
        while {set_before} and one not in heard:  # one that comes just before the main thread sleeps does not wake it
            os.kill(os.getpid(), one)
        now = signal.getsignal(one)
        say(f"{{signal.Signals(one).name}}: {{'somebody' if now is somebodys else now.name}}")
    for one in (signal.SIGTERM, signal.SIGINT):
        assert signal.getsignal(one) not in (somebodys, signal.SIG_DFL, signal.default_int_handler)
    say("last words")
    os.kill(os.getpid(), {number:d})
    threading.Event().wait()

if {set_before}:
    for one in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
        signal.signal(one, somebodys)
atexit.register(last)
run(hears_signals)
"""
    with run_code(script) as program:
        program.until_logged("ready after")
        assert program.stop(SIGTERM) == 0
        assert program.seconds_to_end < 2
        said = program.said[program.said.index("stopping: SIGTERM\n") + 1 :]
        told = [f"{name}: {'somebody' if set_before else 'SIG_IGN'}\n" for name in ("SIGHUP", "SIGUSR1", "SIGUSR2")]
        assert said == [*told, "last words\n"]


def test_a_reload_signal_at_the_very_end_does_not_change_the_exit_code() -> None:
    with run_tree("hangs_at_exit") as program:
        program.until_said("up")
        program.signal(SIGTERM)
        program.until_said("last words")
        for number in (SIGHUP, SIGUSR1, SIGUSR2):
            program.signal(number)
        assert program.stop(SIGTERM) == 0
