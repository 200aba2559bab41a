"""Benchmarks: ratios to a floor that is measured beside the subject, never bare seconds."""
