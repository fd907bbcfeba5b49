"""Provide arrays that read when they are sliced, and arrays made of other arrays."""
