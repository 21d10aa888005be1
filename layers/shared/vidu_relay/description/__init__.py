"""The API described for others: an OpenAPI document made from the models, and a page made from the document."""
