"""Client engagement: who will answer a message, at a stated precision."""
