"""The actions that come with the program: what is done and has no state of its own.

An action is a frozen, keyword-only struct under ``core.resource.declare``: its fields are
its parameters, and the Lua blocks of its docstring are its examples. It is journalled,
listed in a preview as "would run", never "unchanged" and never drift. Modules here import
``core`` alone: whatever is done to a machine goes through the ``Host`` that they are given.
Actions that go with a type and share its helpers (``systemd.restart``, ``pkg.update``) stand
beside it in ``resources``.
"""
