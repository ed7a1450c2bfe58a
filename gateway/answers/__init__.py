"""Answers that people reviewed: kept for good, served before all others, flagged when their documents change."""
