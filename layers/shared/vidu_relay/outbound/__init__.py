"""How we open connections to others: what was sent for certain, and which addresses we refuse to reach."""
