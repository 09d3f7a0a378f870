"""What a change makes of a message, and what of it is written down."""

from postwarden.mail.queue import HOLD, Change, Entry, State


def change_entry(entry: Entry, change: Change) -> None:
    if change.finals:
        finals = {index for index, _ in change.finals}
        entry.open = tuple([index for index in entry.open if index not in finals])
    if change.deferred:
        entry.reasons.update(change.deferred)
    if change.due and entry.open:
        entry.attempts += bool(change.deferred)
        entry.due = change.due
    if lasts(change):
        entry.warned |= change.warned
        entry.expired |= change.expired
        entry.due = HOLD if change.held else entry.due
        if change.told:
            entry.told, entry.untold = True, {}
        if change.untold:
            entry.untold = {**entry.untold, **dict(change.untold)}  # the writer's thread may still look at the old one


def lasts(change: Change) -> bool:
    """It tells something of the message that is neither the time of its next round nor an outcome."""
    return bool(change.warned or change.expired or change.told or change.untold or change.held)


def state_of(entry: Entry) -> State:
    reasons = {n: entry.reasons[n] for n in entry.open if n in entry.reasons}
    return State(entry.open, entry.attempts, reasons, entry.warned, entry.expired, entry.untold, entry.told)
