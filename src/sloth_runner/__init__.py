"""Makes machines match a Lua workflow, records every managed thing, and can take it back."""

__version__ = "0.1.0"
