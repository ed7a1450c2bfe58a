"""The semantic cache on labelled questions: how often it hits, and how often wrongly."""
