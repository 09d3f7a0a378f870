"""One smtpd service of master.cf, compiled: everything that its sessions share."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, structs

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import Settings
from postwarden.config.tls import tls_library
from postwarden.config.view import view
from postwarden.mail.decision import Rule
from postwarden.mail.envelope import Client, PortedClient
from postwarden.mail.events import Event, Warn
from postwarden.mail.reply import Reply
from postwarden.net.clock import Clock
from postwarden.net.log import Log
from postwarden.net.tls import ServerTls, ServerTlsSettings
from postwarden.net.tls_settings import TlsLibrary, TlsSettings
from postwarden.net.waiting import Waiting
from postwarden.receive.clients import Clients, Standing
from postwarden.receive.counters import Counters
from postwarden.receive.ehlo import hello_reply, keywords
from postwarden.receive.footer import Footer
from postwarden.receive.networks import Networks
from postwarden.receive.params import SmtpdParams
from postwarden.receive.ports import Clerk, Judge, PeerNames, Prepare, Recorder, Store
from postwarden.receive.postmaster import Postmaster
from postwarden.receive.received import Dates, ReceivedBy
from postwarden.receive.server_names import ServerNames
from postwarden.receive.sites import Sites
from postwarden.receive.verbs import Verbs
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables
from postwarden.wire.data import LineEnds
from postwarden.wire.smtp_server import Options

_MAX_HELLOS = 1000
_LINE_ENDS = {
    "yes": LineEnds.NORMALIZE,
    "normalize": LineEnds.NORMALIZE,
    "reject": LineEnds.REJECT,
    "no": LineEnds.LENIENT,
}


class Neighbours(Struct, frozen=True):
    """The other parties of a receiver's sessions: one set for all services, but for judge and profile."""

    clock: Clock
    log: Log
    names: PeerNames
    judge: Judge
    prepare: Prepare
    store: Store
    waiting: Waiting
    counters: Counters | None = None
    """None: no limits for clients."""
    files: Mapping[str, str] | None = None
    """`Life.files`: where to open what only root may read."""
    clerk: Clerk | None = None
    """None: the postmaster is told of no trouble."""


class Mode(Struct, frozen=True):
    """Parameters and what follows from them, as they hold now: normally, or under stress."""

    params: SmtpdParams
    options: Options
    exempt_options: Options
    """For clients that may send what smtpd_forbid_bare_newline forbids."""
    stress: bool = False


class Service:
    """Sessions read it and count themselves in `sessions`; the role sets `limit`, `delay`, `leaving`, `flush_site`.
    `notes` are warnings: what it does without."""

    def __init__(self, settings: Settings, key: str, neighbours: Neighbours, tables: Tables | None = None) -> None:
        """`key` is the service's, as in `smtp/inet`. Raises ConfigError for a value or table that can't be used."""
        n = neighbours
        self.clock, self.log, self.names, self.store = n.clock, n.log, n.names, n.store
        self.judge, self.prepare, self.waiting, self.counters = n.judge, n.prepare, n.waiting, n.counters
        self._settings, self.key = settings, key
        self.name = key.partition("/")[0]
        tables = Tables.of(settings) if tables is None else tables
        params = view(SmtpdParams, settings, key)
        self.hostname = params.myhostname
        self.profile = params.cleanup_service_name
        self.content_filter = params.content_filter
        self.syslog_name = settings.text("syslog_name", key)
        self.tls_level = _tls_level(params)
        self.wrapper = params.smtpd_tls_wrappermode
        """TLS from the first byte."""
        self.notes: list[Problem] = []
        names = tables.maps(params.tls_server_sni_maps, settings.origin("tls_server_sni_maps", key))
        self.tls = self._open_tls(params, n.files, names)
        self.heads = 0
        """Bytes of the heads that sessions keep."""
        self.leaving = False
        """The process ends: who comes now is sent away as soon as it was greeted."""
        self.delay = 0.0
        """Seconds that each new transaction waits, while the courier lags behind (in_flow_delay)."""
        self.postmaster = Postmaster(
            settings, key, clock=n.clock, log=n.log, store=n.store, clerk=n.clerk, waiting=n.waiting
        )
        self.clients = Clients(settings, key, params, tables)
        self.sites = Sites(settings, key, params, tables)
        self.recorder: Recorder | None = None
        """None: nothing is kept of decisions."""
        self.flush_site: Callable[[str], bool] | None = None
        """Tells the courier of a site whose mail is to be tried now; False: it can't be told."""
        self.forbidden, self.noop = (
            Verbs(getattr(params, name), tables, settings.origin(name, key))
            for name in ("smtpd_forbidden_commands", "smtpd_noop_commands")
        )
        self.filters = tables.maps(params.smtpd_command_filter, settings.origin("smtpd_command_filter", key))
        self.banner = Reply(220, "", params.smtpd_banner)
        self.helo_reply = Reply(250, "", params.myhostname)
        self.footer = self._open_footer(params, tables)
        self.families = _families(params)
        """Of the addresses that clients may have."""
        self.client = PortedClient if params.smtpd_client_port_logging else Client
        self._soft, self._refers = params.soft_bounce, params.postwarden_refusal_reference
        self.network = Networks(params.smtpd_client_ipv4_prefix_length, params.smtpd_client_ipv6_prefix_length)
        self.received_by = _received_by(params)
        self.dates = Dates()
        self.limit = session_limit(settings, key)
        self.sessions: set[Any] = set()
        self._open = 0
        self._handshakes = 0
        self._say_full_at = self._record_full_at = 0.0
        self._normal = self._mode(params)
        self._stressed = structs.replace(self._mode(view(SmtpdParams, settings, key, stress=True)), stress=True)
        self._ehlo: dict[tuple[bool, Standing], tuple[Reply, bytes]] = {}

    @property
    def mode(self) -> Mode:
        """For a session that begins now. Above 90 % of the limit `stress` holds (STRESS_README)."""
        return self._stressed if self._open * 10 > self.limit * 9 else self._normal

    def enter(self, session: Any) -> bool:
        """Count a session, of all receivers together; False, and uncounted, if it is over the limit."""
        count = self._count()
        if count > self.limit:
            self._uncount()
            self._say_full()
            return False
        self._open = count
        self.sessions.add(session)
        return True

    def worded(self, reply: Reply, client: Client) -> Reply:
        """A refusal as the client shall hear it: soft_bounce, smtpd_reject_footer."""
        if self._soft and reply.code >= 500:
            softer = reply.status.replace("5.", "4.", 1)
            reply = Reply(reply.code - 100, softer, reply.text, reply.reference)
        return self.footer.added(reply, client) if self.footer and reply.code >= 400 else reply.marked()

    def referring(self, reply: Reply, recorder: Recorder) -> Reply:
        """With a reference to what will be recorded of it, if that is wanted."""
        return structs.replace(reply, reference=recorder.reference()) if self._refers else reply

    def because(self, parameter: str) -> Rule:
        """A setting as the reason of a refusal."""
        return Rule(parameter, self._settings.text(parameter, self.key), self._settings.origin(parameter, self.key))

    def why_no_tls(self) -> str:
        """The setting whose certificate can't be used; empty where TLS is there, or not asked for."""
        if self.tls is None or self.tls.context is not None:
            return ""
        chain = self._normal.params.smtpd_tls_chain_files
        return "smtpd_tls_chain_files" if chain else "smtpd_tls_cert_file"

    def has_room(self) -> bool:
        """For one more, which is not counted yet."""
        count = self._count()
        self._uncount()
        if count > self.limit:
            self._say_full()
        return count <= self.limit

    def handshaking(self, change: int) -> None:
        """So many more (or less) connections are in the handshake before a session."""
        self._handshakes += change
        if change > 0:
            self._count()
        else:
            self._uncount()

    def _count(self) -> int:
        """Counts one more, to be counted off -> how many there are, of all receivers together."""
        count = len(self.sessions) + self._handshakes + 1
        if self.counters is not None:
            count = max(count, self.counters.connect(self.name, "", self.clock.now())[0])
        return count

    def leave(self, session: Any) -> None:
        self.sessions.discard(session)
        self._open -= 1
        self._uncount()

    def _uncount(self) -> None:
        if self.counters is not None:
            self.counters.disconnect(self.name, "")

    def _say_full(self) -> None:
        now = self.clock.monotonic()
        if now >= self._say_full_at:
            self._say_full_at = now + 60
            self.warn(f'service "{self.name}" has reached its limit of {self.limit} sessions: clients are sent away')

    def may_record_full(self) -> bool:
        """Once a second."""
        now = self.clock.monotonic()
        if now < self._record_full_at:
            return False
        self._record_full_at = now + 1
        return True

    def ehlo(self, standing: Standing, *, tls: bool) -> tuple[Reply, bytes]:
        """The reply, and as it is sent. `tls`: STARTTLS is on offer."""
        known = self._ehlo.get((tls, standing))
        if known is not None:
            return known
        if len(self._ehlo) > _MAX_HELLOS:
            self._ehlo.clear()
        xclient, xforward, discarded = standing.xclient, standing.xforward, standing.discarded or frozenset()
        reply = hello_reply(self._normal.params, tls=tls, xclient=xclient, xforward=xforward, discarded=discarded)
        self._ehlo[tls, standing] = found = reply, reply.encode()
        return found

    def emit(self, event: Event) -> None:
        self.log.emit("smtpd", event, self.syslog_name)

    def warn(self, text: str) -> None:
        self.emit(Warn(text))

    def _mode(self, params: SmtpdParams) -> Mode:
        word = params.smtpd_forbid_bare_newline.lower()
        ends = _LINE_ENDS.get(word)
        if ends is None:
            origin = self._settings.origin("smtpd_forbid_bare_newline", self.key)
            raise ConfigError(origin, f"smtpd_forbid_bare_newline: no such setting: {word}")
        limit = max(params.message_size_limit, 64 << 20)
        options = Options(
            line_limit=params.line_length_limit,
            line_ends=ends,
            helo_required=params.smtpd_helo_required,
            tls_required=self.tls_level == "encrypt",
            absent=_absent(params),
            discard_limit=limit,
            strict_paths=params.strict_rfc821_envelopes,
            leading_minus=params.allow_min_user,
        )
        return Mode(params, options, structs.replace(options, line_ends=LineEnds.LENIENT))

    def _open_footer(self, params: SmtpdParams, tables: Tables) -> Footer:
        origin = self._settings.origin("smtpd_reject_footer_maps", self.key)
        maps = tables.maps(params.smtpd_reject_footer_maps, origin)
        name, template = params.myhostname, params.smtpd_reject_footer
        return Footer(template, maps, server_name=name, now=lambda: self.clock.now(), warn=self.warn)

    def _open_tls(self, params: SmtpdParams, files: Mapping[str, str] | None, names: Maps) -> ServerTls | None:
        if self.tls_level == "none":
            return None
        must = self.tls_level == "encrypt"
        library = tls_library(self._settings, self.key)
        chain = params.smtpd_tls_chain_files
        name = "smtpd_tls_chain_files" if chain else "smtpd_tls_cert_file"
        origin = self._settings.origin(name, self.key)
        found = ServerTlsSettings(server_tls(params, library, must=must), not must, chain, _dh_file(params))
        named = ServerNames(names, self.waiting, self.warn) if names else None
        tls = ServerTls(found, self.clock, self.warn, files, named)
        fault = tls.fault
        if not chain and not found.settings.pairs:
            origin = self._settings.origin("smtpd_tls_security_level", self.key)
            fault = "TLS is asked for, and smtpd_tls_cert_file or smtpd_tls_chain_files is not set"
        if fault:
            # Clients that must use TLS are refused then, and nobody else is: as smtpd(8) has it.
            self.notes.append(Problem(origin, "warning", f"{fault}: disabling TLS support"))
        return tls


def server_tls(params: SmtpdParams, library: TlsLibrary, *, must: bool) -> TlsSettings:
    """`must`: clients have to use TLS, and the smtpd_tls_mandatory_ parameters hold."""
    exclude = params.smtpd_tls_mandatory_exclude_ciphers if must else ()
    return TlsSettings(
        params.smtpd_tls_mandatory_protocols if must else params.smtpd_tls_protocols,
        params.smtpd_tls_mandatory_ciphers if must else params.smtpd_tls_ciphers,
        (*params.smtpd_tls_exclude_ciphers, *exclude),
        params.smtpd_tls_cert_file,
        params.smtpd_tls_key_file,
        (
            (params.smtpd_tls_eccert_file, params.smtpd_tls_eckey_file),
            (params.smtpd_tls_dcert_file, params.smtpd_tls_dkey_file),
        ),
        params.smtpd_tls_CAfile,
        params.smtpd_tls_CApath,
        library,
    )


def _received_by(params: SmtpdParams) -> ReceivedBy:
    return ReceivedBy(
        params.myhostname,
        params.mail_name,
        show_tls=params.smtpd_tls_received_header,
        hidden=params.smtpd_hide_client_session,
    )


def _families(params: SmtpdParams) -> frozenset[str]:
    both = frozenset(("ipv4", "ipv6"))
    return both & set(params.inet_protocols) or both


def _dh_file(params: SmtpdParams) -> str:
    """`auto` and `none` are no files."""
    name = params.smtpd_tls_dh1024_param_file
    return "" if name.lower() in ("auto", "none") else name


def session_limit(settings: Settings, key: str) -> int:
    """maxproc of the service where the operator set it, else default_process_limit where they set that, else
    postwarden_session_limit: a session is no process here, and 100 of them are few."""
    service = settings.find_service(key)
    written = service.maxproc if service is not None else "-"
    if written not in ("-", ""):
        if written.isdigit() and int(written):
            return int(written)
    elif settings.entry("default_process_limit", key) is not None:
        return settings.number("default_process_limit", key)
    return settings.number("postwarden_session_limit", key)


def _tls_level(params: SmtpdParams) -> str:
    """none, may or encrypt. The two old switches count where the level is not set."""
    level = params.smtpd_tls_security_level.lower()
    if params.smtpd_tls_wrappermode:
        return "encrypt"
    if level in ("none", "may"):
        return level
    if level:
        # Levels that Postfix's client has mean `encrypt` to its server.
        return "encrypt"
    return "encrypt" if params.smtpd_enforce_tls else "may" if params.smtpd_use_tls else "none"


def _absent(params: SmtpdParams) -> frozenset[str]:
    """What is no command here, or shall do nothing."""
    noop = {word.upper() for word in params.smtpd_noop_commands}
    return frozenset(noop | {"BDAT"} if "chunking" in keywords(params.smtpd_discard_ehlo_keywords) else noop)
