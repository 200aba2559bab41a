"""Tests of the engine, driven by programs written in Python instead of Lua."""
