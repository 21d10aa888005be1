"""One module per outside system. Each translates that system's errors; none imports another."""
