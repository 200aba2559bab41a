"""How things enter the record: sensitive values sealed, large contents as blobs, and back.

A sensitive property is kept as an HMAC (enough to see that it changed), a sensitive
parameter encrypted (so that a row alone still rebuilds its resource).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from sloth_runner.core import forms, schema, values
from sloth_runner.core.diff import Diff
from sloth_runner.core.errors import RecordError
from sloth_runner.core.events import SENSITIVE, ChangeItem
from sloth_runner.core.registry import Registry
from sloth_runner.core.resource import Origin, Resource
from sloth_runner.core.schema import Content
from sloth_runner.core.values import State, Value
from sloth_runner.engine.defined import Definitions
from sloth_runner.state.blobs import Blobs
from sloth_runner.state.keys import Sealer

INLINE = 16 * 1024
"""Contents up to this many bytes stand in the row itself; larger ones are blobs."""

BASE = "$base"
"""In stored parameters: those of the declaration that another one refined."""


class Seal(Struct, frozen=True, kw_only=True):
    """Turns states, parameters and pre-images into what may be stored, and back."""

    sealer: Sealer
    blobs: Blobs
    types: Registry
    definitions: Definitions
    limit: int

    def state(self, state: State | None, sensitive: Iterable[str]) -> State | None:
        """Returns ``state`` with the values of sensitive properties as HMACs."""
        hidden = frozenset(sensitive)
        if state is None or not hidden & state.keys():
            return state
        return {k: self.sealer.hmac(v) if k in hidden else v for k, v in state.items()}

    def same(self, recorded: Value, seen: Value) -> bool:
        """Whether a recorded value, plain or an HMAC, stands for the one that is seen.

        What is sensitive can change with the thing itself, as a file's content does with
        its mode: that alone makes no value another one.
        """
        return recorded == seen or (is_sealed(recorded) and recorded == self.sealer.hmac(seen))

    def agrees(self, recorded: State | None, seen: State | None) -> bool:
        """Whether a recorded state stands for the one that is seen, in all that both speak of.

        What else is looked at depends on what is declared.
        """
        if recorded is None or seen is None:
            return recorded is seen
        return all(self.same(value, seen[k]) for k, value in recorded.items() if k in seen)

    def params(self, resource: Resource, sensitive: frozenset[str]) -> dict[str, Value]:
        """Returns the parameters of ``resource`` as they may be stored; stores large contents."""
        params = schema.given_params(resource)
        for name in params:
            value = getattr(resource, name)
            if isinstance(value, Content):
                params[name] = self._content(value, sealed=name in sensitive)
            elif name in sensitive:
                params[name] = {"$sealed": self.sealer.encrypt(values.encode(value))}
        return params

    def resource(self, type_name: str, params: Mapping[str, Value]) -> Resource:
        """Returns the resource that a row describes.

        Raises RecordError when its type is not installed here, and ParamError when this
        version does not take the parameters any more.
        """
        given = {name: self._opened(value) for name, value in params.items() if name != BASE}
        cls: type[Resource] | None = self.types.types.get(type_name)
        if "defined_in" in given and "defined_hash" in given:
            cls = self.definitions.find(type_name, given["defined_in"], given["defined_hash"])
        if cls is None:
            raise RecordError(
                f"no installed type is called {type_name!r}",
                hint=self.types.not_loaded or "install the package that provides it",
            )
        built: Resource = forms.own_form(cls).read(given, function=type_name)
        return built

    def origin(self, origin: Origin, sensitive: frozenset[str]) -> dict[str, Value]:
        """Returns a pre-image as it may be stored; takes its scratch files into the blobs."""
        hidden, saved = bool(sensitive), {}
        for path, content in origin.saved.items():
            saved[path] = None if content is None else self._saved(content, sealed=hidden)
        return {"actual": self.state(origin.actual, sensitive), "saved": saved}

    def _saved(self, content: Content, *, sealed: bool) -> dict[str, Value]:
        stored = self._content(content, sealed=sealed)
        stored.pop("source", None)
        if sealed and content.path is not None:
            Path(content.path).unlink()  # the copy that is not encrypted
        return stored

    def _content(self, content: Content, *, sealed: bool) -> dict[str, Value]:
        source = {} if content.path is None else {"source": content.path}
        if content.size > self.limit:
            return {"$content": {"sha256": content.sha256, "size": content.size, **source}}
        if sealed:
            return {"$blob": self._sealed(content), "sealed": True, **source}
        described = {"sha256": content.sha256, "size": content.size, **source}
        if content.data is None and content.path is not None:
            return {"$blob": self.blobs.put_file(content.path), **described}
        if content.size <= INLINE:
            return {"$content": {**described, "data": content.data}}
        return {"$blob": self.blobs.put(content.data or ""), **described}

    def _sealed(self, content: Content) -> str:
        if content.data is None and content.path is not None:
            return self.blobs.put_sealed_file(content.path, self.sealer)
        return self.blobs.put_sealed(content.data or "", self.sealer)

    def _opened(self, value: Value) -> Value:
        if not isinstance(value, dict):
            return value
        if "$sealed" in value:
            return values.decode(self.sealer.decrypt(value["$sealed"]))
        if "$blob" in value and value.get("sealed"):
            return self.blobs.content(value["$blob"], self.sealer)
        if "$blob" in value:
            return Content(
                sha256=value["sha256"], size=value["size"], path=self.blobs.path(value["$blob"])
            )
        if "$content" in value:
            kept = dict(value["$content"])
            source = kept.pop("source", None)
            return Content(**kept, path=None if "data" in kept else source)
        return value


def is_sealed(recorded: Value) -> bool:
    """Whether a recorded value is an HMAC of the real one."""
    return isinstance(recorded, str) and recorded.startswith("hmac:")


def sources(params: Mapping[str, Value]) -> list[str]:
    """Returns the files of the controller that stored parameters came from."""
    found = []
    for value in params.values():
        if isinstance(value, dict):
            source = value.get("source") or (value.get("$content") or {}).get("source")
            if isinstance(source, str):
                found.append(source)
    return found


def redacted(
    change: Diff, sensitive: frozenset[str], text_diffs: Mapping[str, str]
) -> tuple[ChangeItem, ...]:
    """Returns the changes as events may show them: no sensitive value, old or new, in any field."""
    return tuple(
        ChangeItem(
            path=item.property,
            old=None if item.old is None else SENSITIVE,
            new=None if item.new is None else SENSITIVE,
            sensitive=True,
        )
        if item.property in sensitive
        else ChangeItem(
            path=item.property,
            old=item.old,
            new=item.new,
            diff=text_diffs.get(item.property),
        )
        for item in change.changes
    )


def redacted_state(state: State | None, sensitive: frozenset[str]) -> State | None:
    """Returns ``state`` with sensitive values replaced by "(sensitive)"."""
    if state is None or not sensitive & state.keys():
        return state
    return {k: SENSITIVE if k in sensitive else v for k, v in state.items()}


def change_data(items: Iterable[ChangeItem]) -> tuple[dict[str, Any], ...]:
    """Returns redacted changes as plain tables for the record."""
    return tuple(
        {"path": i.path, "old": i.old, "new": i.new, "sensitive": i.sensitive} for i in items
    )


def change_items(data: Iterable[Mapping[str, Value]]) -> tuple[ChangeItem, ...]:
    """Returns the changes that ``change_data`` made plain."""
    return tuple(
        ChangeItem(
            path=item["path"],
            old=item.get("old"),
            new=item.get("new"),
            sensitive=bool(item.get("sensitive")),
        )
        for item in data
    )
