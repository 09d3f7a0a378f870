import pytest

from postwarden.content.author import author


@pytest.mark.parametrize(
    ("name", "standard", "obsolete"),
    [
        ("", "me@x", "me@x"),
        ("Full Name", "Full Name <me@x>", "me@x (Full Name)"),
        ("Full  Name", "Full Name <me@x>", "me@x (Full  Name)"),
        ("Full (x) Name", '"Full (x) Name" <me@x>', "me@x (Full (x) Name)"),
        ('"A" Name', '"\\"A\\" Name" <me@x>', 'me@x ("A" Name)'),
        ("A. Name", '"A. Name" <me@x>', "me@x (A. Name)"),
        ("A%Name", '"A%Name" <me@x>', "me@x (A%Name)"),
        ("Fäll", "Fäll <me@x>", "me@x (Fäll)"),
        ("x)", '"x)" <me@x>', "me@x (x\\))"),
        ("a\\b(", '"a\\\\b(" <me@x>', "me@x (a\\\\b\\()"),
        ("a\nBcc: you", '"a Bcc: you" <me@x>', "me@x (a Bcc: you)"),
        ("\r\n", "me@x", "me@x"),
    ],
)
def test_names(name: str, standard: str, obsolete: str) -> None:
    assert author("me@x", name, "standard") == standard
    assert author("me@x", name, "obsolete") == obsolete


def test_addresses() -> None:
    assert author("", "Name", "standard") == "MAILER-DAEMON"
    assert author("a b@x", "", "standard") == '"a b"@x'
