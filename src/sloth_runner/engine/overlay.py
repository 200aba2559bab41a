"""What a preview predicts: changes that were not made but that later calls must see."""

from collections.abc import Callable

from msgspec import Struct

from sloth_runner.core.address import LOCAL, Address
from sloth_runner.core.resource import Resource, Touches
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State, Value
from sloth_runner.engine.program import Program, Unpredictable
from sloth_runner.engine.touched import Touched


class Prediction(Struct, frozen=True):
    """A resource as it would be; ``state`` None is absent."""

    resource: Resource
    state: State | None


class PathPrediction(Struct, frozen=True, kw_only=True):
    """What would be at a path: ``state`` None is nothing; ``content`` None is not known."""

    state: State | None
    content: Content | None = None


class Overlay:
    """The predicted changes of one preview, in the order in which they would happen.

    ``names`` returns the names of a path on a host, ``thing`` an address with the name that
    its host uses. ``keys`` are keys by keyspace and name; ``program`` is who knows what it
    wrote itself.
    """

    def __init__(
        self,
        names: Callable[[str, str], tuple[str, ...]],
        thing: Callable[[Address], Address],
    ) -> None:
        self._names = names
        self._thing = thing
        self._states: dict[Address, Prediction] = {}
        self._paths: dict[tuple[str, str], Address] = {}
        self._changes: list[Address] = []
        self._touched: dict[str, Touched] = {}
        self._named: set[tuple[str, str]] = set()
        self._latest: dict[str, Address] = {}
        self._undercut: set[tuple[str, str]] = set()
        self._keepers: dict[Address, Address] = {}
        self.keys: dict[tuple[str, str], Value] = {}
        self.program: Program | None = None

    def predict(
        self, address: Address, resource: Resource, state: State | None, *, made: bool = False
    ) -> None:
        """Notes that ``resource`` would become ``state``; ``made`` is what was not there."""
        self._states[address] = Prediction(resource, state)
        if not (made and resource.checks_ahead):
            self._undercut.add((address.host, resource.exclusive))
        if resource.path is not None and resource.touches == Touches((resource.path,)):
            self._paths[(address.host, resource.path)] = address
        if resource.keeps is not None:
            kept = self._thing(address)._replace(type=resource.keeps)
            self._keepers.pop(kept, None)
            self._keepers |= {} if state is None else {kept: address}
        self._touch(address, resource.touches)

    def act(self, address: Address, touches: Touches) -> None:
        """Notes that an action would run; what was to be kept until then may be free again."""
        self._keepers.clear()
        self._touch(address, touches)

    def _touch(self, address: Address, touches: Touches) -> None:
        self._changes.append(address)
        touches = touches.under(lambda path: self._names(address.host, path))
        self._touched.setdefault(address.host, Touched()).mark(touches, len(self._changes))
        self._named |= {(address.host, path) for path in touches.paths or ()}
        self._latest[address.host] = address

    def write(self, path: str) -> None:
        """Notes that the program itself would write or remove a file of the controller."""
        self.act(written(path), Touches((path,)))

    def state(self, address: Address) -> Prediction | None:
        """Returns what is predicted of exactly this resource."""
        return self._states.get(address)

    def wrote_last(self, path: str) -> bool:
        """Whether the program itself was the last that may have changed a path."""
        return self._changed_last(written(path), path)

    def at_path(self, host: str, path: str) -> PathPrediction | None:
        """Returns what is predicted of the whole of a path, if nothing later may touch it."""
        if host == LOCAL and self.wrote_last(path):
            return self._own(path)
        address = self._paths.get((host, path))
        if address is None or not self._changed_last(address, path):
            return None
        return self.made(host, path)

    def made(self, host: str, path: str) -> PathPrediction | None:
        """Returns what a resource would make of the whole of a path, whatever comes after."""
        address = self._paths.get((host, path))
        prediction = None if address is None else self._states[address]
        if prediction is None or prediction.resource.part_of_file:
            return None
        content = getattr(prediction.resource, "content", None)
        known = prediction.state is not None and isinstance(content, Content)
        return PathPrediction(state=prediction.state, content=content if known else None)

    def is_folder(self, host: str, path: str) -> bool | None:
        """Whether a folder would be at a path; None where nothing that is predicted decides it.

        What may make one is taken to do so.
        """
        predicted = self.at_path(host, path)
        if predicted is not None:
            return predicted.state is not None and predicted.content is None
        return None if self.follows(Address(host, "path", path), path) is None else True

    def follows(self, address: Address, path: str | None) -> Address | None:
        """Returns the last predicted change that may touch what is observed, or None."""
        changed = self._last(address.host, path)
        return None if changed == address else changed

    def is_named(self, host: str, path: str) -> bool:
        """Whether a change said that it touches exactly this path."""
        return (host, path) in self._named

    def undercuts(self, host: str, resource: Resource) -> bool:
        """Whether an earlier change may end what stands in the way of ``resource`` now."""
        return (host, resource.exclusive) in self._undercut

    def keeper(self, address: Address) -> Address | None:
        """Returns what was predicted that lets nothing change this one, or None."""
        return self._keepers.get(self._thing(address))

    def follows_anything(self, address: Address) -> Address | None:
        """Returns the last predicted change on the host, whatever it touches, or None."""
        latest = self._latest.get(address.host)
        return None if latest == address else latest

    def _changed_last(self, address: Address, path: str) -> bool:
        return self._last(address.host, path) == address

    def _last(self, host: str, path: str | None) -> Address | None:
        touched = self._touched.get(host)
        names = (None,) if path is None else self._names(host, path)
        latest = max(touched.latest(name) for name in names) if touched else 0
        return self._changes[latest - 1] if latest else None

    def _own(self, path: str) -> PathPrediction | None:
        """Returns what the program itself has written to ``path`` in this preview."""
        if self.program is None:
            return None
        try:
            data = self.program.written(path)
        except LookupError:
            return None
        except Unpredictable:
            return PathPrediction(state={})
        if data is None:
            return PathPrediction(state=None)
        content = Content.of(data)
        return PathPrediction(state={"content": f"sha256:{content.sha256}"}, content=content)


def written(path: str) -> Address:
    """Returns what stands for a file that the program writes itself: it is no resource."""
    return Address(LOCAL, "io", path)
