"""Simulate into a store: schedule, episodes, progress."""
