"""Short commands: what does it cost to start?"""

from statistics import median

from bench.places import PYTHON, SLOTH, Place, measure
from bench.table import COST_HEAD, costs, ratio, show, verdict

STACKS = 50
TARGETS_MS = {"--version": 80.0, f"stack list ({STACKS} stacks)": 120.0}
"""Of CPU."""


def run(place: Place, rounds: int) -> None:
    """Measures short commands against an interpreter that does nothing, and prints the table."""
    db = f"{place.folder}/startup/stacks.db"
    for i in range(STACKS):
        place.run([SLOTH, "stack", "new", f"stack-{i}", "--db", db])
    cost = measure(
        place,
        {
            "--version": [SLOTH, "--version"],
            f"stack list ({STACKS} stacks)": [SLOTH, "stack", "list", "--db", db],
            "--help": [SLOTH, "--help"],
            "floor": [*PYTHON, "-c", "pass"],
        },
        rounds=rounds,
    )
    floor = cost.pop("floor")
    rows = []
    for name, subject in cost.items():
        cpu, target = median(subject.cpu) * 1e3, TARGETS_MS.get(name)
        met = "-" if target is None else f"{target:.0f}: {verdict(cpu, target)}"
        rows.append([name, ratio(subject.cpu, floor.cpu), met, *costs(subject)])
    rows.append(["floor: python, nothing done", 1.0, "-", *costs(floor)])
    show("Start-up", ("command", "x floor, CPU", "target, CPU ms", *COST_HEAD), rows)
