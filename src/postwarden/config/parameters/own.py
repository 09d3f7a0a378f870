"""Parameters that Postfix does not have. The prefix keeps the same main.cf usable by both."""

from postwarden.config.parameters.kinds import Parameter, items, number, switch, text, time

PARAMETERS: tuple[Parameter, ...] = (
    text("postwarden_alias_sources", "alias-sources.cf"),  # in the configuration directory; without the file: none
    switch("postwarden_bounce_reasons", "yes"),  # a plain sentence in reports: who decided
    items("postwarden_dns_servers"),  # address:port; empty: resolv.conf
    # Of one message, after aliases: 1,000 recipients with 1,000 members each would be a million.
    number("postwarden_recipient_expansion_limit", "50000", low=1),
    switch("postwarden_refusal_reference", "no"),  # in the text of a refusal, for `explain`
    number("postwarden_session_limit", "20000", low=1),
    number("postwarden_submit_limit", "10000"),  # messages an hour of one local user; 0: no limit
    switch("postwarden_trace", "yes"),  # keep what was decided, for `explain`
    time("postwarden_trace_lifetime", "7d"),
    number("postwarden_trace_size_limit", "200000000", low=1_000_000),  # bytes of all files together
)
