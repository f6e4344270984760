"""The codes that rows are drawn in, and the texts that the source shows for them."""

import numpy as np

# the lists end in what the shop's data model does not know: rows for the quarantine
EVENTS = (
    *("send", "open", "click", "purchase", "close", "unsubscribe", "complain"),
    *("hard_bounce", "soft_bounce", "teleport"),
)
SEND, OPEN, CLICK, BOUGHT, CLOSE, UNSUBSCRIBE, COMPLAIN, HARD_BOUNCE, SOFT_BOUNCE, UNKNOWN = range(
    10
)
CHANNELS = ("email", "mobile_push", "web_push", "sms")
EVENT_TYPES = ("view", "cart", "favorite", "purchase", "return", "cancel", "teleport")
VIEW, CART, FAVORITE, PURCHASE, RETURN, CANCEL, UNKNOWN_TYPE = range(7)

NULL = np.iinfo(np.int64).min  # a null id or time
