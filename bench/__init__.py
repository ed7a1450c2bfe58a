"""Measurements of Ocho over HTTP, and the servers they need; not part of the installed package."""
