"""Phase 1: pairs are cleaned, compared, split and dealt to work units."""
