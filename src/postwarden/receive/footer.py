"""What follows the text of a refusal: smtpd_reject_footer, smtpd_reject_footer_maps."""

from collections.abc import Callable
from time import localtime, strftime

from postwarden.config.expand import ExpandError, expand, references
from postwarden.mail.decision import Pending
from postwarden.mail.envelope import Client
from postwarden.mail.reply import Reply
from postwarden.tables.maps import Maps
from postwarden.tables.table import TableError

_KNOWN = frozenset(("client_address", "client_port", "localtime", "server_name"))


class Footer:
    """Added to replies of 4xx and 5xx. A template that can't be used, or a table that does not answer at once, adds
    nothing: the refusal itself must not wait for its ornament."""

    def __init__(
        self, template: str, maps: Maps, *, server_name: str, now: Callable[[], float], warn: Callable[[str], None]
    ) -> None:
        self._template, self._maps = template, maps
        self._server_name, self._now, self._warn = server_name, now, warn

    def __bool__(self) -> bool:
        return bool(self._template or self._maps)

    def added(self, reply: Reply, client: Client) -> Reply:
        template = self._found(reply) or self._template
        text = self._text(template, client) if template else ""
        reply = reply.marked()
        if not text:
            return reply
        glue, text = ("", text[2:]) if text.startswith("\\c") else ("\n", text)
        return Reply(reply.code, reply.status, reply.text + glue + text.replace("\\n", "\n"))

    def _found(self, reply: Reply) -> str:
        if not self._maps:
            return ""
        try:
            found = self._maps.find(str(Reply(reply.code, reply.status, reply.text)))
        except Pending:
            return ""
        except TableError as error:
            self._warn(f"smtpd_reject_footer_maps: {error}")
            return ""
        return "" if found is None else found.value

    def _text(self, template: str, client: Client) -> str:
        unknown = references(template) - _KNOWN
        values = {
            "client_address": client.address,
            "client_port": str(client.port),
            "localtime": strftime("%b %e %H:%M:%S", localtime(self._now())),
            "server_name": self._server_name,
        }
        try:
            if unknown:
                raise ExpandError(f"unknown name ${min(unknown)}")
            return expand(template, values.get)
        except ExpandError as error:
            self._warn(f"reject footer not used: {error}")
            return ""
