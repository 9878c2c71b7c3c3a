"""A dataset on disk: the schema, the store, units committed, the card, and reading it back."""
