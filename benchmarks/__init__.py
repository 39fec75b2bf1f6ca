"""Measurements, one short script per goal; each prints a table and ends in one JSON line. See RESULTS.md."""
