"""The API and the events described for others: everything is generated from the types in `domain/documents.py`."""
