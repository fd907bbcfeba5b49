"""Show a store to others: links for viewers on the web, and a server on this machine's loopback."""
