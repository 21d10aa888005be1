"""`relay console`: the operator's pages, served on this machine alone."""
