"""Copy one day of the product database into raw, check it, and add it up in feature."""
