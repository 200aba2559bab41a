"""Values on the way to and from Lua, as MessagePack: the Python half of ``prelude/codec.lua``.

The first byte is 1 where the value needs a second look: text that is not UTF-8, or a whole
number beyond 64 bits.
"""

from typing import Any

import msgspec

from sloth_runner.core.values import Value, raw, text

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder()
_MOST, _LEAST = 2**63 - 1, -(2**63)


def decode(data: bytes) -> Value:
    """Returns the canonical value that Lua sent; tables have their keys sorted."""
    value = _decoder.decode(memoryview(data)[1:])
    if data[0]:
        value = _exact(value)
    return _sorted(value)


def encode(value: Value) -> bytes:
    """Returns a canonical value as Lua takes it."""
    try:
        return b"\0" + _encoder.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return b"\1" + _encoder.encode(_portable(value))


def _sorted(value: Value) -> Value:
    """Returns ``value`` with sorted keys: Lua's own order is another in each process."""
    kind = type(value)
    if kind is dict:
        return {
            key: item if type(item := value[key]) is str else _sorted(item) for key in sorted(value)
        }
    if kind is list:
        return [_sorted(item) for item in value]
    return value


def _exact(value: Value) -> Value:
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_exact(item) for item in value]
    if isinstance(value, dict):
        return {_exact(key): _exact(item) for key, item in value.items()}
    return value


def _portable(value: Value) -> Any:
    if isinstance(value, str):
        return raw(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _LEAST <= value <= _MOST:
        return float(value)
    if isinstance(value, list | tuple):
        return [_portable(item) for item in value]
    if isinstance(value, dict):
        return {_portable(key): _portable(item) for key, item in value.items()}
    return value
