"""Ocho gateway: company-document chatbots that answer in five seconds, with the same facts every time."""

import os

# numpy's matrix library shares even a small product among all cores, and its threads then spin for more work: a search
# took twice the CPU time that way. Read when numpy is loaded, so it stands here, before anything else.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
