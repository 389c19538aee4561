"""A worker that acts a part: `python -S scripted_worker.py FOLDER PART ...`, one part a start.

The last part serves for all later starts. It imports little, and so starts at once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def number_of_this_start(folder):
    """Count the starts by files, which no two processes can create."""
    for number in range(1000):
        try:
            (folder / str(number)).touch(exist_ok=False)
        except FileExistsError:
            continue
        return number
    raise RuntimeError("so many starts are none of a test")


def serve():
    say(ready=os.getpid())
    for line in sys.stdin:
        say(begun=True)
        say(epoch=1, loss=float("nan"))
        attempt = json.loads(line)["attempt"]
        failure = {"kind": "failed", "error": "Tried", "message": str(attempt)}
        say(ended=True, failure=failure if attempt > 1 else None)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_when_ready():
    say(ready=os.getpid())
    kill()


def kill_with_the_job():
    say(ready=os.getpid())
    sys.stdin.readline()
    kill()


def kill_in_the_job():
    say(ready=os.getpid())
    sys.stdin.readline()
    say(begun=True)
    kill()


def die_and_leave_a_child():
    say(ready=os.getpid())
    sys.stdin.readline()
    say(begun=True)
    subprocess.Popen(["sleep", "3600"])  # which holds the pipe
    kill()


def break_at_import():
    raise ModuleNotFoundError("No module named 'absent'")


def hang():
    time.sleep(3600)


def print_first():
    sys.stdout.write("a package says hello\n[1, 2\n")
    serve()


def babble():
    say(ready=os.getpid())
    sys.stdin.readline()
    say(begun=True)
    sys.stdout.write(os.environ.get("BABBLE", "hello") + "\n")
    sys.stdout.flush()
    hang()


def hang_in_the_job():
    say(ready=os.getpid())
    sys.stdin.readline()
    say(begun=True)
    hang()


def chatter():
    say(ready=os.getpid())
    sys.stdin.readline()
    say(begun=True)
    while True:
        say(epoch=1, loss=0.5)


def babble_when_idle():
    say(ready=os.getpid())
    sys.stdout.write("hello\n")
    sys.stdout.flush()
    hang()


if __name__ == "__main__":
    folder, *parts = sys.argv[1:]
    mine = number_of_this_start(Path(folder))
    globals()[parts[min(mine, len(parts) - 1)]]()
