"""The promise, measured: useful answers within 5 s, asked directly and through Ocho."""
