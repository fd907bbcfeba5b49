"""Open stores and read and write their nodes, files and chunks."""
