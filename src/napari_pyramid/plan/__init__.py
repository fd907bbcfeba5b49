"""Describe a pyramid before it exists: levels, chunks, passes, memory. Touches no disk."""
