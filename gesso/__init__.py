"""Gesso: a self-hosted SDXL image API."""

__version__ = "0.1.0"
