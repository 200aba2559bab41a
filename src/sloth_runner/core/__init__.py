"""The pure core: values, schema, resource base, diff, events, host protocol, errors.

Nothing here does I/O, knows Lua, a database or a terminal, or imports another layer.
"""
