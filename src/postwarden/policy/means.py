"""What restrictions may ask, whom, and how a restriction is compiled."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from postwarden.mail.decision import Origin, Rule
from postwarden.policy.actions import Actions, Style
from postwarden.policy.inquiries import Inquiries
from postwarden.policy.listed import Listed, Resolver
from postwarden.policy.outside import AddressVerifier, Services
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction
from postwarden.tables.maps import Maps
from postwarden.tables.matching import MatchList


class Means(Struct, frozen=True):
    """What a restriction may ask."""

    params: PolicyParams
    networks: MatchList
    resolver: Resolver
    listed: Listed
    style: Style
    own: frozenset[str]
    """Addresses of this machine."""
    maps: Callable[[str, Origin], Maps]
    """Opens the table that a restriction names. Raises ConfigError."""
    compile_list: Callable[[str, Origin], Restriction]
    """Compiles the restrictions that a table's answer names."""
    parameter_maps: Callable[[str], Maps]
    """Opens the tables of a parameter. Raises ConfigError."""
    inquiries: Inquiries
    services: Services
    """Policy servers."""
    backup_networks: MatchList
    """permit_mx_backup_networks."""
    pause: Callable[[float], Awaitable[None]]
    """Sleeps."""
    verifier: AddressVerifier
    patience: tuple[float, float]
    """Seconds for an address that is being verified: normally, and under stress."""

    def actions(self, rule: Rule) -> Actions:
        """The meaning of answers for the restriction `rule`."""
        return Actions(rule, self.style, lambda text: self.compile_list(text, rule.origin))

    def own_recipient(self, question: Question) -> bool:
        """The recipient is one that we are responsible for (mydestination, virtual_*_domains, relay_domains), and
        nobody is asked to route it on through operators in the local part. May raise TableError and Pending."""
        if question.recipient is None:
            return False
        resolved = self.resolver.resolve(question.recipient)
        if resolved.routed and not self.params.allow_untrusted_routing:
            return False
        return resolved.address_class.final or resolved.address_class.value == "relay"


Compiler = Callable[[Means, Rule], Restriction]
