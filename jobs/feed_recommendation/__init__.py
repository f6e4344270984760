"""Which posts to show each user, at any moment of the day."""
