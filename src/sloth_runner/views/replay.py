"""Turns stored events back into what they were, so that a recorded run can be shown again."""

from collections.abc import Mapping
from typing import Union

import msgspec

from sloth_runner.core import events, values
from sloth_runner.core.events import Event
from sloth_runner.core.values import Value

_TYPES: tuple[type[Event], ...] = tuple(
    cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, Event)
)


def event_of(data: Mapping[str, Value]) -> Event | None:
    """Returns the event that ``data`` (its stored JSON object) describes.

    None for a type that this version does not know: a newer one may have written it.
    """
    known = [cls for cls in _TYPES if cls is not Event]
    try:
        event: Event = msgspec.convert(
            values.decode(values.encode(dict(data))),
            type=Union[tuple(known)],  # noqa: UP007
        )
    except msgspec.ValidationError:
        return None
    return event
