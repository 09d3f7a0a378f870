"""Compiling a restriction list: words in order, each with its arguments, to one function.

The first verdict decides. A word that is not known, and a restriction class that is not defined, is a ConfigError that
names the line.
"""

from collections.abc import Callable, Iterator, Sequence

from postwarden.config.errors import ConfigError, Problem
from postwarden.config.settings import Settings
from postwarden.config.values import split
from postwarden.mail.decision import Decision, Origin, Rule
from postwarden.policy.means import Compiler, Means
from postwarden.policy.question import Question, Restriction, Subject, refuses
from postwarden.policy.restrictions import unavailable
from postwarden.policy.vocabulary import ACCESS, NO_CERTIFICATES, UNAVAILABLE, VOCABULARY
from postwarden.tables.maps import Maps
from postwarden.tables.opening import Tables

_CLOSING = frozenset(("reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit"))
_NESTING = 20

Watch = Callable[[str, Rule, Restriction], Restriction]
"""Puts something round a restriction of a list, which is named first: whoever explains wants to see it asked."""


class ListCompiler:
    """Compiles the lists of one service. `means` is set once the tables that it names are open."""

    means: Means

    def __init__(
        self, settings: Settings, service: str, tables: Tables, classes: Sequence[str], watch: Watch | None = None
    ) -> None:
        self._settings = settings
        self._service = service
        self._tables = tables
        self._classes = frozenset(classes)
        self._watch = watch
        self._list = ""
        self.notes: list[Problem] = []
        """What does not do here what it does in Postfix."""

    def maps(self, name: str, origin: Origin) -> Maps:
        return Maps((self._tables.table(name, origin),))

    def parameter(self, name: str, subject: Subject) -> Restriction:
        """The list that the parameter `name` holds. A bare table in it is an access table for `subject`.
        Raises ConfigError."""
        self._list = name
        origin = self._settings.origin(name, self._service)
        return self.compile(self._items(name), origin, subject)

    def named(self, text: str, origin: Origin) -> Restriction:
        """The list that a table's answer is. Raises ConfigError."""
        try:
            words = split(text)
        except ValueError as error:
            raise ConfigError(origin, str(error)) from error
        return self.compile(words, origin)

    def compile(
        self, words: Sequence[str], origin: Origin, subject: Subject | None = None, depth: int = 0
    ) -> Restriction:
        """One function for `words`. Raises ConfigError."""
        if depth > _NESTING:
            raise ConfigError(origin, "restriction classes that name each other")
        restrictions: list[Restriction] = []
        rest = iter(words)
        for word in rest:
            if word.lower() == "warn_if_reject":
                following = next((other for other in rest if other.lower() != "warn_if_reject"), "")
                if following:
                    restrictions.append(_warned(self._one(following, rest, origin, subject, depth)))
            else:
                restrictions.append(self._one(word, rest, origin, subject, depth))
        return _in_order(tuple(restrictions))

    def _one(self, word: str, rest: Iterator[str], origin: Origin, subject: Subject | None, depth: int) -> Restriction:
        """The restriction that begins with `word`; its argument is taken from `rest`."""
        name = word.lower()
        entry = VOCABULARY.get(name)
        if entry is not None:
            argument = next(rest, "") if entry.needs else ""
            if entry.needs and not argument:
                raise ConfigError(origin, f'restriction "{name}" needs {entry.needs}')
            if name in NO_CERTIFICATES:
                self._note(origin, f"{name} never fits: no client is asked for a certificate in this version")
            return self._compiled(entry.compiler, Rule(name, argument, origin))
        if word in self._classes:
            at = self._settings.origin(word, self._service)
            return self.compile(self._items(word), at, subject, depth + 1)
        if ":" in word:
            if subject is None or subject not in ACCESS:
                raise ConfigError(origin, f'table "{word}" without the restriction that it belongs to')
            return self._compiled(VOCABULARY[ACCESS[subject]].compiler, Rule(ACCESS[subject], word, origin))
        if name in UNAVAILABLE:
            self._note(
                origin, f'restriction "{name}" is not available in this version: mail that gets to it is put off'
            )
            return self._compiled(unavailable, Rule(name, "", origin))
        raise ConfigError(origin, f'unknown smtpd restriction: "{word}"')

    def _compiled(self, compiler: Compiler, rule: Rule) -> Restriction:
        compiled = compiler(self.means, rule)
        return compiled if self._watch is None else self._watch(self._list, rule, compiled)

    def _note(self, origin: Origin, text: str) -> None:
        self.notes.append(Problem(origin, "warning", text))

    def closes(self, *parameters: str) -> bool:
        """Does one of the lists hold a restriction that keeps strangers from relaying?"""
        return any(self._closes(name, 0) for name in parameters)

    def _closes(self, name: str, depth: int) -> bool:
        if depth > _NESTING:
            return False
        before = ""
        for word in self._items(name):
            warned, before = before == "warn_if_reject", word.lower()
            if warned:
                continue  # it refuses nobody
            if before == "permit":
                return False  # what follows is never asked
            if before in _CLOSING or (word in self._classes and self._closes(word, depth + 1)):
                return True
        return False

    def _items(self, name: str) -> tuple[str, ...]:
        try:
            return split(self._settings.text(name, self._service))
        except ValueError as error:
            raise ConfigError(self._settings.origin(name, self._service), str(error)) from error


def _in_order(restrictions: tuple[Restriction, ...]) -> Restriction:
    if not restrictions:
        return lambda question: None
    if len(restrictions) == 1:
        return restrictions[0]

    def judge(question: Question) -> Decision | None:
        marks = question.marks
        for restriction in restrictions:
            decision = restriction(question)
            if decision is not None:
                if marks.warning and refuses(decision):
                    marks.warned(decision)
                    continue
                return decision
            if marks.defer_if_permit is not None and marks.defer_if_reject is not None:
                # Put off, whatever the rest says: the judge sees to it.
                return None
        return None

    return judge


def _warned(restriction: Restriction) -> Restriction:
    """warn_if_reject: what `restriction` would refuse is told to the log."""

    def judge(question: Question) -> Decision | None:
        marks = question.marks
        outer, marks.warning = marks.warning, True
        try:
            decision = restriction(question)
        finally:
            marks.warning = outer
        if not refuses(decision):
            return decision
        assert decision is not None
        marks.warned(decision)
        return None

    return judge
