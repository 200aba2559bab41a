"""``bench/run [WHAT ...]``: measures, and prints tables of ratios to the floor."""

import argparse
import contextlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from bench import first_converge, journal, no_change, peers, startup
from bench.places import Place, here, inside


def main() -> None:
    """Runs what was asked for; without a choice, everything but the peers."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    kinds = ("no-change", "first-converge", "journal", "startup")
    parser.add_argument("what", nargs="*", choices=[*kinds, "peers", []], help="what to measure")
    parser.add_argument("--peers", metavar="FOLDER", help="where the other tools are installed")
    parser.add_argument("--sizes", type=_numbers, default=[100, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--changes", type=int, default=200, help="for the journal")
    parser.add_argument("--records", type=_numbers, default=[10, 100_000], help="for the journal")
    parser.add_argument("--here", action="store_true", help="no machine: no packages, users, units")
    asked = parser.parse_args()
    if "peers" in asked.what and not asked.peers:
        parser.error("peers needs --peers FOLDER")
    tools = str(Path(asked.peers or ".").resolve())  # it is used inside the machine
    what = asked.what or list(kinds)
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores")
    with contextlib.ExitStack() as stack:
        place = _place(stack, on_machine=not asked.here)
        jobs: dict[str, Callable[[], None]] = {
            "no-change": lambda: no_change.run(
                place, asked.sizes, asked.rounds, system=not asked.here
            ),
            "first-converge": lambda: first_converge.run(
                place, [s for s in asked.sizes if s <= 1000], max(3, asked.rounds // 3)
            ),
            "journal": lambda: journal.run(
                stack.enter_context(here()).folder, asked.records, asked.changes
            ),
            "startup": lambda: startup.run(place, asked.rounds),
            "peers": lambda: peers.run(place, asked.sizes, asked.rounds, tools),
        }
        for name in what:
            jobs[name]()
            sys.stdout.flush()


def _place(stack: contextlib.ExitStack, *, on_machine: bool) -> Place:
    return stack.enter_context(inside() if on_machine else here())


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    main()
