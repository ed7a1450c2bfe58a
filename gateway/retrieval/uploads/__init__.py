"""Files that callers upload, and the vector stores (collections of a tenant) they put them into."""
