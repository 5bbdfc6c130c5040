"""Inspecting a store: status, coverage, preview."""
