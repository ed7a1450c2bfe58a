"""Reviewed answers, part by part."""
