"""``ocho`` commands: thin, each one a few lines over the parts that do the work."""
