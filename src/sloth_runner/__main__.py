"""Lets the package be run as ``python -m sloth_runner``."""

from sloth_runner.cli import main

main()
