"""The record: conformance of stores, and what must survive."""
