"""Load real files, in their owners' format, into the product database."""
