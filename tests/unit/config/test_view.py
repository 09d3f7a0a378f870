import importlib
import inspect
import pkgutil

import msgspec
import pytest

import postwarden
from postwarden.config.errors import ConfigError
from postwarden.config.parameters import Standing, find, standing
from postwarden.config.view import check_view, view
from postwarden.testing.config import settings


class Params(msgspec.Struct, frozen=True):
    myhostname: str
    smtpd_timeout: int
    mydestination: tuple[str, ...]
    alias_maps: tuple[str, ...]
    biff: bool


class UnknownName(msgspec.Struct, frozen=True):
    nosuch: str


class WrongType(msgspec.Struct, frozen=True):
    smtpd_timeout: str


def test_a_view_holds_typed_values() -> None:
    s = settings(smtpd_timeout="5s", mydestination="a, b", biff="no")
    assert view(Params, s) == Params("mx.example.com", 5, ("a", "b"), ("hash:/etc/aliases",), False)


def test_a_bad_value_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"main\.cf:1: "):
        view(Params, settings("smtpd_timeout = x"))


@pytest.mark.parametrize("cls", [UnknownName, WrongType])
def test_a_class_that_does_not_fit_the_table(cls: type[msgspec.Struct]) -> None:
    with pytest.raises(RuntimeError, match=cls.__name__):
        check_view(cls)


# Read to say that the delivery they ask for is not possible yet; or, of logins, that they are off.
ONLY_PUT_OFF = {
    "allow_mail_to_commands", "fallback_transport", "fallback_transport_maps", "luser_relay", "mailbox_command",
    "mailbox_command_maps", "mailbox_transport", "mailbox_transport_maps", "smtpd_sasl_auth_enable",
}  # fmt: skip


def views() -> list[type[msgspec.Struct]]:
    found = []
    for info in pkgutil.walk_packages(postwarden.__path__, "postwarden."):
        if info.name.rsplit(".", 1)[-1] == "params":
            module = importlib.import_module(info.name)
            for name, cls in inspect.getmembers(module, inspect.isclass):
                own = cls.__module__ == module.__name__ and issubclass(cls, msgspec.Struct)
                if own and name.endswith("Params"):
                    found.append(cls)
    return found


@pytest.mark.parametrize("cls", views(), ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_every_view_of_the_tree_fits(cls: type[msgspec.Struct]) -> None:
    check_view(cls)
    for field in msgspec.structs.fields(cls):
        parameter = find(field.name)
        assert parameter is not None
        assert standing(parameter)[0] is Standing.WORKS or field.name in ONLY_PUT_OFF, field.name
