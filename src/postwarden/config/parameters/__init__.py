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
from postwarden.config.parameters.stages import AREAS, STAGES
from postwarden.config.parameters.standing import standing

__all__ = ("PATTERNS", "TABLE", "Kind", "Parameter", "Standing", "find", "stage", "standing")

_AREAS = (
    system, addressing, smtp_server, policy, content, queue, smtp_client, lmtp_client, tls, tlsproxy, local,
    postscreen, own,
)  # fmt: skip

TABLE: Mapping[str, Parameter] = MappingProxyType({p.name: p for area in _AREAS for p in area.PARAMETERS})
PATTERNS = transports.PATTERNS
_STAGES: Mapping[str, str] = MappingProxyType(
    {p.name: AREAS[area.__name__.rpartition(".")[2]] for area in _AREAS for p in area.PARAMETERS} | dict(STAGES)
)


def find(name: str) -> Parameter | None:
    """The parameter of that name. A pattern such as `_destination_concurrency_limit` gives one made to measure."""
    known = TABLE.get(name)
    if known is not None:
        return known
    for pattern in PATTERNS:
        if name.endswith(pattern.name) and len(name) > len(pattern.name):
            return structs.replace(pattern, name=name)
    return None


def stage(name: str) -> str:
    """The stages that read it, as their folders are called; of a pattern's parameter the scheduler."""
    return _STAGES.get(name, "schedule")
