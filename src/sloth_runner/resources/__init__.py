"""The resource types and queries that come with the program: each is one file.

A type is a frozen, keyword-only struct under ``core.resource.declare``, in a module of
its own: the fields are its parameters, ``samples`` (field values below the folder
``/tmp/sloth-sample``) and ``sample_files`` (files that must exist first) feed the law tests,
and the Lua blocks of its docstring are its examples; they are run. ``core.registry`` finds
every module here whose name does not begin with an underscore; those that do are shared
helpers. Modules here import ``core`` alone: whatever is done to a machine goes through the
``Host`` that they are given.
"""
