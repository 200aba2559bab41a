"""Whether a process is still the one that was meant, however often its number was used since."""

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether there is a process of that number, ours or not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def start_time(pid: int) -> int | None:
    """Returns when a process started, in clock ticks since boot (proc(5), field 22), or None."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may itself hold blanks and parentheses.
    return int(facts.rpartition(b")")[2].split()[19])
