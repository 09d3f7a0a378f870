"""The part of a report that brings back the message, or its header (RFC 3462, RFC 6533 4)."""

import os

from postwarden.mail.queue import Content


def body_of(content: Content, limit: int) -> bytes | None:
    """The body, if it is no larger than `limit` and can be read: a bad block must not keep the report from leaving."""
    if content.body is not None:
        return content.body
    if content.fd < 0 or content.size > limit:
        return None
    try:
        data = os.pread(content.fd, content.size, content.offset)
    except OSError:
        return None
    return data if len(data) == content.size else None


def content_type(*, whole: bool, utf8: bool) -> str:
    if whole:
        return "message/global" if utf8 else "message/rfc822"
    return "message/global-headers" if utf8 else "text/rfc822-headers"


def returned(content: Content, body: bytes | None) -> bytes:
    """What follows Return-Path. `body` None: the header alone."""
    if body is None:
        return content.head or b"\r\n"
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    return content.head + body + b"\r\n"
