"""The one typed table of all parameters: names, kinds, defaults, bounds, and what a setting of each does."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import structs

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
from postwarden.config.parameters.standing import standing

__all__ = ("PATTERNS", "TABLE", "Kind", "Parameter", "Standing", "find", "standing")

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
            return structs.replace(pattern, name=name)
    return None
