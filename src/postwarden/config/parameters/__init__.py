"""The one typed table of all parameters: names, kinds, defaults, bounds, and what a setting of each does."""

from collections.abc import Mapping
from types import MappingProxyType

from postwarden.config.parameters import (
    addressing,
    content,
    lmtp_client,
    local,
    own,
    policy,
    postscreen,
    queue,
    smtp_client,
    smtp_server,
    system,
    tls,
    tlsproxy,
    transports,
)
from postwarden.config.parameters.kinds import Kind, Parameter, Standing

__all__ = ["PATTERNS", "TABLE", "Kind", "Parameter", "Standing", "find"]

_AREAS = (
    system.PARAMETERS,
    addressing.PARAMETERS,
    smtp_server.PARAMETERS,
    policy.PARAMETERS,
    content.PARAMETERS,
    queue.PARAMETERS,
    smtp_client.PARAMETERS,
    lmtp_client.PARAMETERS,
    tls.PARAMETERS,
    tlsproxy.PARAMETERS,
    local.PARAMETERS,
    postscreen.PARAMETERS,
    own.PARAMETERS,
)

TABLE: Mapping[str, Parameter] = MappingProxyType({p.name: p for area in _AREAS for p in area})
PATTERNS = transports.PATTERNS


def find(name: str) -> Parameter | None:
    """The parameter of that name. A pattern such as `_destination_concurrency_limit` gives one made to measure."""
    known = TABLE.get(name)
    if known is not None:
        return known
    for pattern in PATTERNS:
        if name.endswith(pattern.name) and len(name) > len(pattern.name):
            return Parameter(
                name,
                pattern.kind,
                pattern.default,
                pattern.low,
                pattern.high,
                unit=pattern.unit,
                standing=pattern.standing,
                reason=pattern.reason,
            )
    return None
