"""Retrieval: the right document found, how fast, and alike for the same question reworded."""
