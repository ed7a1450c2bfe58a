"""The Grafana dashboards: what they show (``panels``), in Grafana's format (``grafana``), as pictures (``render``)."""

from bench.dashboards.main import main

__all__ = ["main"]
