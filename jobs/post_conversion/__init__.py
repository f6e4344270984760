"""Post conversion: how often a view becomes a like, share, comment or hide."""
