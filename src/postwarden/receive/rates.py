"""How much a client may do at once and in anvil_rate_time_unit (smtpd_client_*_limit): counted over all receivers."""

from types import MappingProxyType
from typing import TYPE_CHECKING

from postwarden.mail.envelope import Client
from postwarden.receive.counters import MESSAGES, RECIPIENTS, TLS_SESSIONS

if TYPE_CHECKING:
    from postwarden.receive.session import Session

_RATES = MappingProxyType(
    {
        MESSAGES: ("smtpd_client_message_rate_limit", "Message delivery request rate"),
        RECIPIENTS: ("smtpd_client_recipient_rate_limit", "Recipient address rate"),
        TLS_SESSIONS: ("smtpd_client_new_tls_session_rate_limit", "New TLS session rate"),
    }
)


def too_many(session: "Session", which: int) -> bool:
    """Counts one more of `which` (MESSAGES, …); True, and a warning, if that is over the client's limit."""
    service, client = session.service, session.facts.client
    name, what = _RATES[which]
    limit, counters = getattr(session.params, name), service.counters
    if not limit or counters is None or not session.standing.limited:
        return False
    rate = counters.count(service.name, service.network(client.address), service.clock.now(), which)
    if rate <= limit:
        return False
    service.warn(f"{what} limit exceeded: {rate} from {client} for service {service.name}")
    return True


def too_many_connections(session: "Session", client: Client) -> bool:
    """Counts the connection, which has to be counted off; True, and a warning, if it is over the client's limit."""
    service, params, counters = session.service, session.params, session.service.counters
    if counters is None or not session.standing.limited:
        return False
    session.counted = service.network(client.address)
    count, rate = counters.connect(service.name, session.counted, service.clock.now())
    if 0 < params.smtpd_client_connection_count_limit < count:
        what = f"Connection concurrency limit exceeded: {count}"
    elif 0 < params.smtpd_client_connection_rate_limit < rate:
        what = f"Connection rate limit exceeded: {rate}"
    else:
        return False
    service.warn(f"{what} from {client} for service {service.name}")
    return True
