"""Lists that the courier asks: whose mail is flushed by site, who may see and flush the queue."""

from collections.abc import Callable

from postwarden.config.settings import Settings
from postwarden.schedule.params import CourierParams
from postwarden.tables.matching import MatchList
from postwarden.tables.opening import Tables
from postwarden.tables.table import TableError


def authorized(settings: Settings, params: CourierParams, tables: Tables) -> Callable[[str, str], bool]:
    """Which local users may list and flush the queue; whom it can't look up may not; Pending comes out of it.
    Raises ConfigError."""
    names = ("authorized_mailq_users", "authorized_flush_users")
    lists = {name: MatchList(name, getattr(params, name), tables, settings.origin(name)) for name in names}

    def has(parameter: str, user: str) -> bool:
        try:
            return lists[parameter].match_string(user) is not None
        except TableError:
            return False

    return has


def served(settings: Settings, params: CourierParams, tables: Tables) -> Callable[[str], bool]:
    """Whether fast_flush_domains has a domain; what can't be looked up it has not; Pending comes out of it.
    Raises ConfigError."""
    name = "fast_flush_domains"
    parents = name in params.parent_domain_matches_subdomains
    domains = MatchList(name, params.fast_flush_domains, tables, settings.origin(name), parents=parents)

    def has(domain: str) -> bool:
        try:
            return domains.match_domain(domain) is not None
        except TableError:
            return False

    return has
