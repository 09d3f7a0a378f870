"""What the directory of the tests holds."""

import base64

SCHEMA = """
attributetype ( 1.1.2.1.1 NAME 'maildrop' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.1.2.1.2 NAME 'mailacceptinggeneralid' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.1.2.1.3 NAME 'memberRef' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.1.2.1.4 NAME 'rawdrop' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 )
objectclass ( 1.1.2.2.1 NAME 'mailThing' SUP top AUXILIARY
  MAY ( maildrop $ mailacceptinggeneralid $ memberRef $ rawdrop $ mail $ userPassword ) )
"""

SETTINGS = """
authz-regexp uid=([^,]*),cn=[^,]*,cn=auth cn=$1,ou=p,dc=test
authz-regexp gidNumber=0\\+uidNumber=0,cn=peercred,cn=external,cn=auth cn=root,dc=test
password-hash {CLEARTEXT}
"""

Values = str | bytes | list[str]


def _entry(dn: str, **values: Values) -> str:
    name, _, value = dn.partition(",")[0].partition("=")
    kind = "organizationalUnit" if name == "ou" else "organizationalRole"
    lines = [f"dn: {dn}", f"objectClass: {kind}", "objectClass: mailThing", f"{name}: {value}"]
    for attribute, given in values.items():
        for one in given if isinstance(given, list) else [given]:
            data = base64.b64encode(one.encode() if isinstance(one, str) else one).decode()
            lines.append(f"{attribute.replace('__', ';').replace('_', '-')}:: {data}")
    return "\n".join(lines) + "\n\n"


def _one(name: str, address: str | list[str], **values: Values) -> str:
    return _entry(f"cn={name},ou=p,dc=test", mailacceptinggeneralid=address, **values)


def _refers(name: str, *references: str, **values: Values) -> str:
    return _one(name, f"{name}@x.com", memberRef=list(references), **values)


ENTRIES = "".join([
    "dn: dc=test\nobjectClass: dcObject\nobjectClass: organization\no: t\ndc: test\n\n",
    _entry("ou=p,dc=test"),
    _one("ann", ["ann@x.com", "Ann"], maildrop=["ann@in.x.com", "ann2"], mail="ann@mail"),
    _one("bob", "bob@x.com", maildrop="bob", mail="bob@mail", rawdrop=b"\xff", userPassword="pw"),
    _one("twin1", "twin@x.com", maildrop="t1", mail="m1"),
    _one("twin2", "twin@x.com", maildrop="t2", mail="m2"),
    _one("star", "a*b(c)\\d@x.com", maildrop="special"),
    _one("utf", "é@x.com", maildrop="é"),
    _one("empty", "empty@x.com", mail="e@mail"),
    _one("opt", "opt@x.com", maildrop__lang_de="de", maildrop="plain"),
    _refers("grp", "cn=ann,ou=p,dc=test", "cn=nobody,ou=p,dc=test", "cn=bob,ou=p,dc=test", mail="grp@mail"),
    _refers("term", "cn=ann,ou=p,dc=test", mail="term@mail", maildrop="host"),
    _refers("nest", "cn=grp,ou=p,dc=test", "cn=term,ou=p,dc=test", mail="nest@mail"),
    _refers("loop", "cn=loop,ou=p,dc=test", mail="loop@mail"),
    _refers("nodn", "not a dn"),
    _refers("url1", "ldap:///ou=p,dc=test?mail?one?(cn=twin*)", mail="url@mail"),
    _refers("url2", "ldap://elsewhere.invalid/ou=p,dc=test??sub?(cn=ann)"),
    _refers("url3", "ldap:///cn=ann,ou=p,dc=test?maildrop"),
    _refers("url4", "ldap:///ou=p,dc=test?mail?bad?(cn=ann)"),
    _refers("url5", "ldap:///ou=p,dc=test?cn?sub?(cn=ann)"),
    _refers("url6", "ldap:///ou=p,dc=test?mail?sub?(cn=ann"),
    _refers("url7", "LDAP://h/ou=p,dc=test?MAIL?sub?(cn=t%77in1)", "ldap:///ou=p,dc=test?mail"),
    _refers("url8", "ldap:///ou=none,dc=test?mail?sub?(cn=ann)"),
    _refers("url9", "ldap:///cn=opt,ou=p,dc=test?maildrop;lang-de"),
])  # fmt: skip

ELSEWHERE = """\
dn: cn=al,ou=p,dc=test
objectClass: alias
objectClass: extensibleObject
cn: al
aliasedObjectName: cn=ann,ou=p,dc=test

dn: ou=r,dc=test
objectClass: referral
objectClass: extensibleObject
ou: r
ref: ldap://127.0.0.1:@port@/ou=p,dc=test

dn: ou=dead,dc=test
objectClass: referral
objectClass: extensibleObject
ou: dead
ref: ldap://127.0.0.1:1/ou=p,dc=test
"""
"""An alias, and referrals to the server itself and to nobody."""
