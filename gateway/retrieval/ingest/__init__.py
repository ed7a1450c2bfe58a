"""Files → documents → passages → record."""

from gateway.retrieval.ingest.ingest import IngestReport, Progress, ingest, put_bytes
from gateway.retrieval.ingest.unreadable import UnreadableFile

__all__ = ["IngestReport", "Progress", "UnreadableFile", "ingest", "put_bytes"]
