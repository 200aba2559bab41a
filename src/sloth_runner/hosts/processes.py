"""Finds commands that are still running although the run that started them is dead.

A process group is named beyond doubt by its number, the start time of its leader and the
boot of the machine: numbers are given again, the three together are not.
"""

from sloth_runner.hosts.primitives import boot_id, process_alive

__all__ = ["boot_id", "process_alive"]
