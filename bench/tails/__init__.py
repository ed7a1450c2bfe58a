"""Tails: one deployment of four falls ill, or twice as much is asked as can be answered."""
