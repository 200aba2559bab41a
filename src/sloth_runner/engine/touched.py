"""When what was last touched on a host, on a clock that counts operations."""

from sloth_runner.core.paths import upwards
from sloth_runner.core.resource import Touches


class Touched:
    """Answers in the depth of a path, however many operations there were."""

    def __init__(self) -> None:
        self._everything = 0
        self._at: dict[str, int] = {}
        self._below: dict[str, int] = {}

    def mark(self, touches: Touches, count: int) -> None:
        """Notes that ``touches`` is touched at ``count``, which never goes back."""
        if touches.paths is None:
            self._everything = count
            return
        for path in touches.paths:
            self._at[path] = count
            for above in upwards(path):
                self._below[above] = count

    def latest(self, path: str | None) -> int:
        """Returns when what is seen at ``path`` (None: not a file) may last have been touched."""
        if path is None:
            return self._everything
        return max(
            self._everything,
            self._below.get(path, 0),
            *(self._at.get(above, 0) for above in upwards(path)),
        )
