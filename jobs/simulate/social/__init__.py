"""The simulated social part of the product: users, posts, the feed, and what is true of them."""
