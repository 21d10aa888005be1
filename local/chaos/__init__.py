"""A campaign of faults on the local stack: hundreds of tasks while provider and AWS misbehave, judged at the end.

`faults` names what goes wrong, `campaign` lets it happen, `verdict` holds what became of each task against a model that
knows nothing of the relay, `report` prints the table. `make chaos` runs it.
"""
