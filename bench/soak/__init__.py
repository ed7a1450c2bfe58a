"""Soak: the same mixed load for a long time, and whether memory, tasks, sockets and files stay flat."""
