"""The chaos test: hundreds of tasks on the local stack while provider, clients and AWS misbehave, checked at the end.

`faults` says what goes wrong, `backends` are the clients', `run` lets it happen, `expectation` says how each task must
end, `oracle` holds the invariants (the simulation checks the same), `table` prints the result. `make chaos` runs it.
"""
