"""Workflows in Lua: the only layer that knows the interpreter."""

from sloth_runner.lua.program import LuaProgram

__all__ = ["LuaProgram"]
