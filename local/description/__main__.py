"""Writes what describes the API and the events: `make schemas`."""

from local.description.files import files

for path, text in files().items():
    path.write_text(text, "utf-8")
