"""Calls of this package in a process of its own, with a cache of its own, against a Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.hub import ENVIRONMENT

# Each retry of the client sleeps for seconds; here for next to nothing, but it is noted how long.
SCRIPT = """
import json, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from cfamc_zoo.errors import ZooError
from cfamc_zoo.zoo.catalogue.download import fetch
from cfamc_zoo.zoo.catalogue.resolve import resolve

sleep, waits = time.sleep, threading.local()
def short(seconds):
    waits.longest = max(seconds, getattr(waits, "longest", 0))
    sleep(min(seconds, 0.02))
time.sleep = short

def attempt(call):
    waits.longest = 0
    try:
        release = (fetch if "config_sha256" in call else resolve)(call.pop("name"), **call)
        release.verify()
        return {"folder": str(release.folder), "waited": waits.longest}
    except ZooError as error:
        return {"error": type(error).__name__, "code": error.exit_code, "said": str(error)}

calls = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(calls)) as threads:
    outcomes = list(threads.map(attempt, calls))
print(json.dumps(outcomes))
"""


def environment(address, home, **more):
    """Variables of a child process."""
    python = os.pathsep.join(p for p in (str(Path.cwd()), *sys.path) if p)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "CFAMC_"))}
    hub = {"HF_ENDPOINT": address, "HF_HOME": str(home)}
    return kept | ENVIRONMENT | hub | {"PYTHONPATH": python} | more


def start_pulls(address, home, calls, **more):
    """A running process that makes the calls, all at once."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(calls)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(address, home, **more),
    )


def finish(process):
    """What came of the calls, in their order; nothing may be said besides."""
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert errors == "", errors
    return json.loads(said)


def pull(address, home, *names, **more):
    """What came of pulling these models, all at once."""
    calls = [name if isinstance(name, dict) else {"name": name} for name in names]
    return finish(start_pulls(address, home, calls, **more))


def command(address, home, *arguments, code=0, **more):
    """The command line as a user runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "cfamc_zoo", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(address, home, **more),
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
