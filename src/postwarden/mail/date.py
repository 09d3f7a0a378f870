"""Dates as mail writes them (RFC 5322 3.3)."""

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def mail_date(when: float) -> str:
    """`Mon, 23 Nov 2026 04:12:40 +0000 (UTC)`: seconds since the epoch in local time, English whatever the locale.

    A day of one digit is padded with a blank, as Postfix pads it.
    """
    t = time.localtime(when)
    minutes = t.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    hours, minutes = divmod(abs(minutes), 60)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"{day}, {t.tm_mday:2d} {month} {t.tm_year} {clock} {sign}{hours:02d}{minutes:02d} ({t.tm_zone})"
