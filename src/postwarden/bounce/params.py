"""What reports read of main.cf."""

from msgspec import Struct


class BounceParams(Struct, frozen=True):
    bounce_size_limit: int
    header_from_format: str
    mail_name: str
    myhostname: str
    myorigin: str
