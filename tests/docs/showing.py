"""Running a line that the documentation shows, where it takes long with less work."""

import shlex

from cfamc_zoo.cli.app import run

SHORT = ["--set", "max_steps=1", "--set", "views.count=2", "--set", "batch_size=8"]
PROTOCOL = "short.toml"

# Of commands that take long as they stand: what is added before what a line gives, which then
# wins, and what is added after it, which wins over that.
BEFORE = {"measure": ["--protocol", PROTOCOL]}
FEW = ["--limit", "8"]
AFTER = {
    "train": SHORT,
    **dict.fromkeys(["attack", "measure", "edits", "verify"], FEW),
}


def perform(line):
    """Runs `cfamc-zoo ...` in this process; gives the exit code."""
    program, command, *rest = shlex.split(line)
    assert program == "cfamc-zoo", line
    return run([command, *BEFORE.get(command, []), *rest, *AFTER.get(command, [])])
