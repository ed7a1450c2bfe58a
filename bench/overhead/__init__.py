"""What the gateway itself costs: against the mock directly and through a bare proxy, in one run."""
