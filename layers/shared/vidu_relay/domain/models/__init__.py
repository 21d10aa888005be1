"""The entries of the catalogue, one module for each kind of generation. See `docs/adding-a-model.md`."""
