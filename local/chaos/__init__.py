"""A campaign of faults on the local stack: hundreds of tasks while provider and AWS misbehave, judged at the end.

`faults` names what goes wrong, `clients` are the backends that are told, `campaign` lets it happen, `verdict` and
`client_verdict` hold what became of each task, and what its client was told, against a model that knows nothing of the
relay, `report` prints the table. `make chaos` runs it.
"""
