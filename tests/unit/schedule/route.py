"""What a resolver says of a recipient."""

from msgspec import Struct

from postwarden.mail.decision import BUILT_IN, Rule


class Route(Struct):
    transport: str
    nexthop: str
    recipient: str
    table: str = ""
    rule: Rule = Rule("hash:/x", "", BUILT_IN)
