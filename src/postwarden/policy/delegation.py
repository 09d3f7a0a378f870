"""check_policy_service: somebody else decides (SMTPD_POLICY_README)."""

from collections.abc import Iterator

from postwarden.config.errors import ConfigError
from postwarden.config.values import integer, seconds, split
from postwarden.mail.decision import Decision, Pending, Rule
from postwarden.net.policy_client import Endpoint, Limits, port_number
from postwarden.net.waiting import called_back
from postwarden.policy.means import Means
from postwarden.policy.params import PolicyParams
from postwarden.policy.question import Question, Restriction
from postwarden.tables.table import Found
from postwarden.wire.policy import encode_request

_TIMES = ("timeout", "max_idle", "max_ttl", "retry_delay")
_NUMBERS = ("request_limit", "try_limit")
_TEXTS = ("default_action", "policy_context")
_PREFIX = "smtpd_policy_service_"


def policy_service(means: Means, rule: Rule) -> Restriction:
    """Raises ConfigError."""
    try:
        name, options = _parts(rule.argument)
        endpoint = _endpoint(name, means.params.queue_directory)
        limits = _limits(means.params, options)
    except ValueError as error:
        raise ConfigError(rule.origin, f"policy service syntax error: {error}") from error
    default = options.get("default_action", means.params.smtpd_policy_service_default_action)
    context = options.get("policy_context", means.params.smtpd_policy_service_policy_context)
    logins = means.params.smtpd_sasl_auth_enable
    server = means.services.server(endpoint, limits)
    actions = means.actions(rule)

    def restriction(question: Question) -> Decision | None:
        marks, findings = question.marks, question.facts.findings
        marks.asked += 1
        key = ("policy", name, marks.stage, marks.asked)
        if key not in findings.known:
            findings.instance = findings.instance or means.services.new_instance()
            instance = findings.instance
            request = encode_request(_attributes(question, instance, context, logins=logins))

            async def fetch() -> None:
                findings.known[key] = await called_back(lambda done: server.ask(request, instance, done))

            raise Pending(fetch)
        action = findings.known[key]
        if action == "":
            marks.warn(rule, f"access table {name} entry  has empty value")
            return None
        return actions.act(question, Found(default if action is None else action, "policy query", name))

    return restriction


def _parts(argument: str) -> tuple[str, dict[str, str]]:
    """The server, and its own settings: `inet:host:port` or `{ inet:host:port, timeout=10s, { name = value } }`.
    Raises ValueError."""
    if not argument.startswith("{"):
        return argument, {}
    words = split(argument[1:-1])
    if not words:
        raise ValueError(f'empty policy service: "{argument}"')
    options = {}
    for word in words[1:]:
        text = word[1:-1] if word.startswith("{") else word
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or name not in (*_TIMES, *_NUMBERS, *_TEXTS):
            raise ValueError(f'"{word}"')
        options[name] = value.strip()
    return words[0], options


def _endpoint(name: str, queue_directory: str) -> Endpoint:
    """Raises ValueError."""
    kind, _, rest = name.partition(":")
    if kind in ("unix", "local") and rest:
        return Endpoint(rest, path=rest if rest.startswith("/") else f"{queue_directory}/{rest}")
    host, _, port = rest.rpartition(":")
    if kind != "inet" or not host:
        raise ValueError(f"inet:host:port or unix:path is needed instead of {name}")
    return Endpoint(rest, host.removeprefix("[").removesuffix("]"), port_number(port))


def _limits(params: PolicyParams, options: dict[str, str]) -> Limits:
    """Raises ValueError."""
    values = {name: getattr(params, f"{_PREFIX}{name}") for name in (*_TIMES, *_NUMBERS)}
    for name, text in options.items():
        if name in _TIMES:
            values[name] = seconds(name, text, "s")
        elif name in _NUMBERS:
            values[name] = integer(name, text)
    if values["try_limit"] < 1 or values["timeout"] < 1:
        raise ValueError("try_limit and timeout must be at least 1")
    return Limits(**values)


def _attributes(question: Question, instance: str, context: str, *, logins: bool) -> Iterator[tuple[str, str]]:
    facts, stage = question.facts, question.marks.stage
    client, tls = facts.client, facts.tls
    late = stage in ("DATA", "END-OF-MESSAGE")
    yield "request", "smtpd_access_policy"
    yield "protocol_state", stage
    yield "protocol_name", "SMTP" if stage in ("HELO", "EHLO") else client.protocol
    yield "client_address", client.address
    yield "client_name", client.name
    yield "client_port", str(client.port)
    yield "reverse_client_name", client.reverse_name
    yield "server_address", facts.server_address
    yield "server_port", str(facts.server_port)
    yield "helo_name", client.helo
    yield "sender", facts.sender or ""
    yield "recipient", question.recipient or ""
    yield "recipient_count", str(facts.recipients if late else 0)
    yield "queue_id", facts.queue_id
    yield "instance", instance
    yield "size", str(facts.size)
    yield "etrn_domain", question.marks.site
    yield "stress", "yes" if facts.stress else ""
    yield "sasl_method", ""
    yield "sasl_username", client.login if logins else ""
    yield "sasl_sender", ""
    for name in ("subject", "issuer", "fingerprint", "pubkey_fingerprint"):
        yield f"ccert_{name}", ""
    yield "encryption_protocol", tls.protocol if tls else ""
    yield "encryption_cipher", tls.cipher if tls else ""
    yield "encryption_keysize", str(tls.bits if tls else 0)
    yield "policy_context", context
