"""Describe a pyramid before it exists: levels, chunks, passes, memory. Pure data; touches no disk."""
