"""Look at a store: status, coverage, preview."""
