"""Interrupts that wait until a process has been started."""

import os
import signal
import subprocess
import sys
from threading import Thread

import pytest

from bench.utils import interrupts

SLEEPER = [sys.executable, "-S", "-c", "import time; print('here', flush=True); time.sleep(60)"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_comes_when_what_it_would_break_is_over(number: signal.Signals) -> None:
    done, former = [], signal.signal(number, signal.default_int_handler)

    def work() -> None:
        with interrupts.put_off():
            os.kill(os.getpid(), number)
            done.append("all of it")

    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, former)
    assert done == ["all of it"]


def test_a_signal_that_is_ignored_stays_so() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.put_off():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_other_threads_have_none_to_put_off() -> None:
    found = []

    def work() -> None:
        with interrupts.put_off():
            found.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_a_child_does_not_see_what_a_terminal_sends_to_all() -> None:
    with interrupts.kept_from_children():
        process = subprocess.Popen(SLEEPER, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        process.terminate()  # the first that it sees
        assert process.wait(60) == -signal.SIGTERM
