"""Configurations with faults, and the places that have to be named for each."""

from __future__ import annotations

ALIAS = '[cmp.alias.a]\nauthority = "issuing"\n'
LISTENER = '[listener.a]\nendpoint = "tcp:1:interface=127.0.0.1"\n'

#: Text and, for each fault it has, the place that has to be named.
BROKEN = [
    ("a = ", ["line 1"]),
    ("[log\n", ["line 1, column 5"]),
    ('public_url = "http://a"\npublic_url = "http://b"', ["line 2"]),
    ("\n\n= 3", ["line 3, column 1"]),
    ("publc_url = 1", ["publc_url"]),
    ("public_url = 1", ["public_url"]),
    ('public_url = "ftp://host"', ["public_url"]),
    ('public_url = "http://host/"', ["public_url"]),
    ('public_url = "host"', ["public_url"]),
    ("log = 3", ["log"]),
    ('[log]\nlevel = "loud"', ["log.level"]),
    ('[log]\nlevel = "info"\nfil = ""', ["log.fil"]),
    ("[limits]\nidle = 60", ["limits.idle"]),
    ('[limits]\nidle = "sixty"', ["limits.idle"]),
    ("[limits]\nconnections = 0", ["limits.connections"]),
    ("[limits]\nconnections = true", ["limits.connections"]),
    ('[limits]\nconnections = "9"', ["limits.connections"]),
    ("[limits]\nmessage_octets = 99999999999", ["limits.message_octets"]),
    ('[keys]\npassphrase = "swordfish"', ["keys.passphrase"]),
    ('[keys]\nauthority_key = "dsa:1024"', ["keys.authority_key"]),
    ('[keys]\nauthority_key = ""', ["keys.authority_key"]),
    ("[storage]\npublished = 3", ["storage.published"]),
    ('[storage]\ndirectory = "x"', ["storage.directory"]),
    ("[listener]\na = 3", ["listener.a"]),
    ("[listener.Big]\n", ["listener.Big"]),
    ('[listener."a/b"]\n', ["listener.a/b"]),
    ("[listener.a]\n", ["listener.a.endpoint", "listener.a.serves"]),
    ('[listener.a]\nendpoint = "tcp:x"\nserves = ["cmp"]', ["listener.a.endpoint"]),
    (LISTENER + "serves = []", ["listener.a.serves"]),
    (LISTENER + 'serves = "cmp"', ["listener.a.serves"]),
    (LISTENER + 'serves = ["cmp", "smtp"]', ["listener.a.serves[1]"]),
    (LISTENER + 'serves = ["cmp-tcp", "cmp"]', ["listener.a.serves"]),
    (LISTENER + 'serves = ["cmp"]\nalias = "nobody"', ["listener.a.alias"]),
    (LISTENER + 'serves = ["cmp"]\ntls = "yes"', ["listener.a.tls"]),
    (
        LISTENER
        + 'serves = ["status"]\n[listener.b]\n'
        + 'endpoint = "tcp:1:interface=127.0.0.1"\nserves = ["status"]',
        ["listener.b.endpoint"],
    ),
    (LISTENER + 'serves = ["cmp-tcp"]\nframings = ["rfc"]', ["listener.a.framings[0]"]),
    ("[cmp.alias.default]\n", ["cmp.alias.default.authority"]),
    ("[cmp.allias.a]\n", ["cmp.allias"]),
    ("[cmp]\nalias = 1", ["cmp.alias"]),
    (
        ALIAS.replace(".a]", ".default]")
        + 'mode = "rb"\nauthenticate = ["mac", "pin"]',
        ["cmp.alias.default.mode", "cmp.alias.default.authenticate[1]"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'certificate_profile = "devise"',
        ["cmp.alias.default.certificate_profile"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'end_entity_profile = "x"\napproval = "y"',
        ["cmp.alias.default.end_entity_profile", "cmp.alias.default.approval"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'authenticate = ["vendor"]',
        ["cmp.alias.default.vendors"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'authenticate = ["ra"]',
        ["cmp.alias.default.registration_authorities"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'vendors = ["acme"]',
        ["cmp.alias.default.vendors"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'quirks = ["anything-goes"]',
        ["cmp.alias.default.quirks[0]"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'confirm_wait = "0s"',
        ["cmp.alias.default"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'name_rule = { scheme = "x", part = [] }',
        ["cmp.alias.default.name_rule.scheme", "cmp.alias.default.name_rule.part"],
    ),
    ('[certificate_profile.x]\nkeys = ["ec:P-257"]', ["certificate_profile.x.keys[0]"]),
    ("[certificate_profile.x]\nkeys = []", ["certificate_profile.x.keys"]),
    (
        '[certificate_profile.x]\nextended_key_usage = ["clientauth"]\n'
        'key_usage = ["sign"]\nvalidity = "2 years"\nsan = "maybe"',
        [
            "certificate_profile.x.extended_key_usage[0]",
            "certificate_profile.x.key_usage[0]",
            "certificate_profile.x.validity",
            "certificate_profile.x.san",
        ],
    ),
    (
        "[certificate_profile.x]\n"
        'static_extensions = [{ oid = "1.2.3", value = "zz" }]',
        [
            "certificate_profile.x.static_extensions[0].value",
            "certificate_profile.x.static_extensions[0].critical",
        ],
    ),
    (
        "[certificate_profile.x]\npath_length = -1",
        ["certificate_profile.x.path_length"],
    ),
    (
        '[end_entity_profile.x]\nsubject = [{ pattern = "(" }, 3]',
        [
            "end_entity_profile.x.subject[0].pattern",
            "end_entity_profile.x.subject[0].field",
            "end_entity_profile.x.subject[1]",
        ],
    ),
    (
        '[end_entity_profile.x]\nalternative_names = [{ field = "dnz" }]',
        ["end_entity_profile.x.alternative_names[0].field"],
    ),
    (
        '[end_entity_profile.x]\ncertificate_profiles = ["gone"]',
        ["end_entity_profile.x.certificate_profiles"],
    ),
    ('[approval.x]\nneeded = 2\napprovers = ["uid:1"]', ["approval.x.needed"]),
    ("[approval.x]\nneeded = 99", ["approval.x.needed"]),
    ("[vendor.x]\n", ["vendor.x.anchors"]),
    ("[vendor.x]\nanchors = []", ["vendor.x.anchors"]),
    ('[authority.x]\ncrl_period = "daily"', ["authority.x.crl_period"]),
]
