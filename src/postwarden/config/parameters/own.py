"""Parameters that Postfix does not have. The prefix keeps the same main.cf usable by both."""

from postwarden.config.parameters.kinds import Parameter, items, number

PARAMETERS: tuple[Parameter, ...] = (
    items("postwarden_dns_servers"),  # address:port; empty: resolv.conf
    number("postwarden_session_limit", "20000", low=1),
)
