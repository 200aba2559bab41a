"""Texts without the secrets that a run knows.

What a command prints, a validator quotes or a workflow raises may repeat a value that was
given as sensitive. So the texts of events go through here before anybody stores or shows them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

from msgspec import structs

from sloth_runner.core import schema
from sloth_runner.core.errors import SlothError
from sloth_runner.core.events import SENSITIVE, ChangeItem, Event
from sloth_runner.core.resource import Action, Resource
from sloth_runner.core.schema import Content
from sloth_runner.core.values import Value

SHORTEST = 6
"""Characters of a secret at least: shorter ones would be found in many words."""

LONGEST = 64 * 1024
"""Characters of a content of which each line is looked for."""

_FIELDS = (
    *("msg", "text", "detail", "hint", "facts", "effects", "traceback", "reason", "note"),
    *("res", "follows", "changes", "undo", "command", "key", "name", "value"),
)
"""The fields of events that may repeat anything; the others are words of our own, and places."""

AnyEvent = TypeVar("AnyEvent", bound=Event)


class Mask:
    """Replaces the secrets that it has learned, the longest ones first."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds secrets; what is too short to be told from other words is left out."""
        new = {secret for secret in secrets if len(secret) >= SHORTEST} - self._secrets
        if new:
            self._secrets |= new
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def value(self, value: Value) -> Value:
        """Returns ``value`` with every text in it masked."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(SENSITIVE, value)
        if isinstance(value, dict):
            return {self.value(key): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(item) for item in value)
        if isinstance(value, ChangeItem):
            shown = {name: self.value(getattr(value, name)) for name in ("old", "new", "diff")}
            return structs.replace(value, **shown)
        return value

    def hides(self, value: Value) -> bool:
        """Whether a secret is repeated in ``value``."""
        return bool(self.value(value) != value)

    def event(self, event: AnyEvent) -> AnyEvent:
        """Returns an event with its free texts masked."""
        if self._pattern is None:
            return event
        names = [name for name in _FIELDS if getattr(event, name, None)]
        return structs.replace(event, **{name: self.value(getattr(event, name)) for name in names})

    def error(self, error: SlothError) -> None:
        """Masks what an error says."""
        if self._pattern is not None:
            for name in ("detail", "hint", "facts", "effects", "traceback"):
                setattr(error, name, self.value(getattr(error, name)))


def secrets_of(given: Resource | Action, names: Iterable[str] | None = None) -> set[str]:
    """Returns the texts of the sensitive parameters, or of ``names``."""
    if names is None:
        params = schema.params_of(type(given)).values()
        names = [param.name for param in params if param.doc.sensitive]
    return {text for name in names for text in texts(getattr(given, name, None))}


def texts(value: Value | Content) -> Iterator[str]:
    """Yields the texts in a value, those of several lines line by line too."""
    if isinstance(value, Content):
        value = value.data if value.size <= LONGEST else None
    if isinstance(value, str):
        yield value
        yield from (line.strip() for line in value.splitlines())
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)
