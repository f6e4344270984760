"""The states of a client, and which step of the sources leads to which.

``NIGHTSHIFT_CLIENT_BEHAVIOR_STATES`` changes the map by ``step=state`` pairs; a step without one is
left out: ``return=churn, favorite=view, close=``.
"""

import re
from collections.abc import Mapping

from jobs import settings
from jobs.client_behavior.sequences import CHURN, PURCHASE

SETTING = "NIGHTSHIFT_CLIENT_BEHAVIOR_STATES"
# step of feature.step_day -> state
USUAL = {
    "view": "view",
    "favorite": "favorite",
    "cart": "cart",
    "remove_from_cart": "remove",
    "purchase": PURCHASE,
    "return": "return",
    "cancel": "cancel",
    "open": "open",
    "click": "click",
    "unsubscribe": "unsubscribe",
}
# Those of the sources that lead nowhere unless a setting says so.
STEPS = (*USUAL, "close", "complain")
MOST_STATES = 15
NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")


def state_of() -> dict[str, str]:
    """Return the state that each step leads to; steps that are not in it count for nothing.

    Raises:
        BadSetting: naming what was found and what is expected.
    """
    written = settings.setting(SETTING, "")
    found = dict(USUAL)
    for pair in filter(None, (part.strip() for part in written.split(","))):
        step, equals, state = (part.strip() for part in pair.partition("="))
        if not step or not equals:
            raise settings.BadSetting(
                f"{SETTING} has {pair!r}; expected step=state pairs, such as return={CHURN}"
            )
        if step not in STEPS:
            raise settings.BadSetting(
                f"{SETTING} has {pair!r}: no source has the step {step!r}, only {', '.join(STEPS)}"
            )
        if not state:
            found.pop(step, None)
        elif NAME.fullmatch(state):
            found[step] = state  # where it stood: the order of moments stays
        else:
            raise settings.BadSetting(
                f"{SETTING} has {pair!r}; expected a state of small letters, digits and _, and "
                f"commas between the pairs, such as return={CHURN}, favorite=view"
            )
    if PURCHASE not in found.values():
        raise settings.BadSetting(f"{SETTING} is {written!r}: no step leads to {PURCHASE}")
    if len(names(found)) > MOST_STATES:
        raise settings.BadSetting(
            f"{SETTING} is {written!r}: {len(names(found))} states, at most {MOST_STATES}"
        )
    return found


def names(found: Mapping[str, str]) -> tuple[str, ...]:
    """Return the states in their order, churn last: that of events with one time."""
    return (*dict.fromkeys(state for state in found.values() if state != CHURN), CHURN)
