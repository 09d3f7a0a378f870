"""Which keys a subject is looked up by, from the most to the least particular."""

from collections.abc import Iterator

from postwarden.tables.network import address_bits


def domain_keys(domain: str, *, parents_by_dot: bool) -> Iterator[str]:
    """`a.b.c`, then its parents: `.b.c`, `.c` where a leading dot is asked for, else `b.c`, `c`.

    `parents_by_dot` is false for the lists and tables that parent_domain_matches_subdomains names. An address in
    brackets or a number has no parents.
    """
    yield domain
    if address_bits(domain.strip("[]").lower().removeprefix("ipv6:")) is not None:
        return
    at = domain.find(".", 1)
    while at >= 0 and at + 1 < len(domain):
        yield domain[at:] if parents_by_dot else domain[at + 1 :]
        at = domain.find(".", at + 1)


def network_keys(address: str) -> Iterator[str]:
    """`192.0.2.1`, `192.0.2`, `192.0`, `192`; `2001:db8::1`, `2001:db8:`, … cut at each colon, as access(5) says."""
    yield address
    mark = ":" if ":" in address else "."
    while (at := address.rfind(mark)) > 0:
        address = address[:at]
        if not address.endswith(":"):
            yield address


def split_extension(local: str, delimiters: str) -> tuple[str, str]:
    """`user+ext` as (`user`, `+ext`) at the first delimiter; (`local`, "") where nothing is to be split.

    A delimiter at the front splits nothing, and neither do the names that no system can do without (postmaster is
    none of them: `mailer-daemon`, `double-bounce` hold the delimiter `-` themselves), nor `owner-list`, `list-request`.
    """
    if not delimiters or local.lower() in ("mailer-daemon", "double-bounce"):
        return local, ""
    if "-" in delimiters and (local.lower().startswith("owner-") or local.lower().endswith("-request")):
        return local, ""
    for at, char in enumerate(local):
        if char in delimiters:
            return (local[:at], local[at:]) if at > 0 else (local, "")
    return local, ""


def folded(key: str) -> str:
    """The form in which tables compare a key that says the same in upper and lower case, as Unicode has it."""
    return key.lower() if key.isascii() else key.casefold()


def folded_bytes(key: bytes) -> bytes:
    """The same for the bytes of an index; what is not UTF-8 has only the letters of ASCII."""
    if key.isascii():
        return key.lower()
    try:
        return folded(key.decode()).encode()
    except UnicodeDecodeError:
        return key.lower()
