"""The demo's product database: what the shop's clients do, and the truth planted in it."""
