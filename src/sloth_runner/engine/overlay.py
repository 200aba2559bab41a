"""What a preview predicts: changes that were not made but that later calls must see."""

from msgspec import Struct

from sloth_runner.core.address import Address
from sloth_runner.core.resource import Resource, Touches
from sloth_runner.core.values import State, Value
from sloth_runner.engine.touched import Touched

MISSING = object()
"""No prediction: the machine, or the record, is asked."""


class Prediction(Struct, frozen=True):
    """A resource as it would be; ``state`` None is absent."""

    resource: Resource
    state: State | None


class Overlay:
    """The predicted changes of one preview, in the order in which they would happen."""

    def __init__(self) -> None:
        self._states: dict[Address, Prediction] = {}
        self._paths: dict[tuple[str, str], Address] = {}
        self._changes: list[Address] = []
        self._touched: dict[str, Touched] = {}
        self.kv: dict[tuple[str, str], Value] = {}

    def predict(self, address: Address, resource: Resource, state: State | None) -> None:
        """Notes that ``resource`` would become ``state``."""
        self._states[address] = Prediction(resource, state)
        if resource.path is not None and resource.touches == Touches((resource.path,)):
            self._paths[(address.host, resource.path)] = address
        self.act(address, resource.touches)

    def act(self, address: Address, touches: Touches) -> None:
        """Notes that an action would run."""
        self._changes.append(address)
        self._touched.setdefault(address.host, Touched()).mark(touches, len(self._changes))

    def state(self, address: Address) -> Prediction | None:
        """Returns what is predicted of exactly this resource."""
        return self._states.get(address)

    def at_path(self, host: str, path: str) -> Prediction | None:
        """Returns what is predicted of the whole of a path, if nothing later may touch it."""
        address = self._paths.get((host, path))
        if address is None or self.follows(address, path) is not None:
            return None
        prediction = self._states[address]
        return None if prediction.resource.part_of_file else prediction

    def follows(self, address: Address, path: str | None) -> Address | None:
        """Returns the last predicted change that may touch what is observed, or None."""
        touched = self._touched.get(address.host)
        latest = touched.latest(path) if touched else 0
        changed = self._changes[latest - 1] if latest else None
        return None if changed == address else changed
