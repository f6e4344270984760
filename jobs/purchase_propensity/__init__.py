"""Will this client buy within 90 days, and why."""
