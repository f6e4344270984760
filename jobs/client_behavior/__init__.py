"""Where each client stands in the shop, and what comes next."""
