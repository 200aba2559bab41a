"""An empty machine is converged: what does a changed file cost with everything synced?"""

from collections.abc import Sequence
from statistics import median

from bench.places import HERE, PYTHON, SLOTH, Place, measure
from bench.table import COST_HEAD, costs, ratio, show, verdict
from bench.workload import Workload

TARGET_MS = 5.0
"""For each changed file."""


def run(place: Place, sizes: Sequence[int], rounds: int) -> None:
    """Measures every size against the same durable writes made by hand, and prints the table.

    The packages are there already, and users and units are left out: this is about files.
    """
    rows: list[Sequence[object]] = []
    for size in sizes:
        workflow, manifest = Workload(files=size, lines=0, system=False).prepare(place)
        db = f"{place.folder}/first/stacks.db"
        files = f"{place.folder}/files"
        empty = [
            ["rm", "-rf", f"{place.folder}/first", files],
            ["mkdir", files],
            ["sync", "--file-system", place.folder],
        ]
        cost = measure(
            place,
            {
                "subject": [SLOTH, "run", "bench", "-f", workflow, "--yes", "-q", "--db", db],
                "floor": [*PYTHON, str(HERE / "floor.py"), manifest, "write"],
            },
            rounds=rounds,
            warmup=0 if size > 1000 else 1,
            before={"subject": empty, "floor": empty},
        )
        subject, floor = cost["subject"], cost["floor"]
        each = median(subject.wall) / size * 1e3
        rows.append(
            [
                f"{size:,}",
                ratio(subject.wall, floor.wall),
                each,
                median(floor.wall) / size * 1e3,
                verdict(each, TARGET_MS),
                *costs(subject),
            ]
        )
    head = ("files", "x floor, wall", "ms a file", "floor ms a file", f"target {TARGET_MS} ms")
    show("First converge, everything synced", (*head, *COST_HEAD), rows)
