"""Chooses implementations by the settings and wires them; used by ``app`` alone."""
