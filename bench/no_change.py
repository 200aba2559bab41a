"""A converged machine is run again: what does it cost to find that nothing is to be done?"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from bench.places import HERE, PYTHON, SLOTH, Cost, Place, measure
from bench.table import COST_HEAD, costs, ratio, show, verdict
from bench.workload import Workload

RATIO, GROWTH_MS, PEAK_MB = 8.0, 0.15, 100.0
"""The targets: times the floor, at 1,000 files; per further file; at any size."""


def run(place: Place, sizes: Sequence[int], rounds: int, *, system: bool = True) -> None:
    """Measures every size against the floor and prints the tables."""
    found = {
        size: against_floor(place, Workload(files=size, system=system), rounds) for size in sizes
    }
    rows = [
        [
            f"{size:,}",
            ratio(subject.wall, floor.wall),
            ratio(subject.cpu, floor.cpu),
            *costs(subject),
            *costs(floor)[:2],
        ]
        for size, (subject, floor) in found.items()
    ]
    head = ("files", "x floor, wall", "x floor, CPU", *COST_HEAD, "floor wall", "floor CPU")
    show("No change: files, and 50 lines, 20 packages, 10 users, 10 units", head, rows)
    show("Growth and targets", ("what", "value", "target", ""), _targets(found))


def against_floor(place: Place, work: Workload, rounds: int) -> tuple[Cost, Cost]:
    """Converges the place, then runs subject and floor in turn; returns what each cost."""
    workflow, manifest = work.prepare(place)
    db = f"{place.folder}/no-change-{work.files}/stacks.db"
    place.run([SLOTH, "run", "bench", "-f", workflow, "--yes", "-q", "--db", db])
    # A digest is believed only when the file was 2 s old as it was made: see DESIGN, section 9.
    place.run(["sleep", "2.1"])
    # The second run is the one that makes digests which can be believed.
    second = place.run([SLOTH, "run", "bench", "-f", workflow, "--yes", "-q", "--db", db])
    if second:
        raise RuntimeError(f"the second run changed something: {second[-2000:]}")
    cost = measure(
        place,
        {
            "subject": [SLOTH, "run", "bench", "-f", workflow, "--yes", "-q", "--db", db],
            "floor": [*PYTHON, str(HERE / "floor.py"), manifest],
        },
        rounds=rounds,
    )
    return cost["subject"], cost["floor"]


def _targets(found: dict[int, tuple[Cost, Cost]]) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = []
    if 1000 in found:
        subject, floor = found[1000]
        times = ratio(subject.wall, floor.wall)
        rows.append(("x floor at 1,000 (wall)", times, RATIO, verdict(times, RATIO)))
    sizes = sorted(found)
    for small, large in pairwise(sizes):
        for name in ("wall", "cpu"):
            low, high = (median(getattr(found[size][0], name)) for size in (small, large))
            growth = (high - low) / (large - small) * 1e3
            what = f"ms a further file, {small:,} to {large:,} ({name})"
            rows.append((what, f"{growth:.3f}", GROWTH_MS, verdict(growth, GROWTH_MS)))
    peak = max(max(subject.mb) for subject, _ in found.values())
    rows.append(("peak MB, any size", peak, PEAK_MB, verdict(peak, PEAK_MB)))
    return rows
