"""Measurements, one short script per goal; each prints a table and ends in one JSON line. See RESULTS.md."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the engine's process has it; read when torch is first imported
