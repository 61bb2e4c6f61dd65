-- Schema 1 of pkid.sqlite. Times are microseconds since 1970 UTC; serial and CRL numbers
-- are 20 octets big-endian, so that their order is the order of time. Names of
-- authorities, profiles, aliases and protocols stand once, in "names".

CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE authorities (
    name INTEGER PRIMARY KEY REFERENCES names (id),
    certificate BLOB NOT NULL,
    chain BLOB NOT NULL,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    crl_number BLOB NOT NULL CHECK (length(crl_number) = 20),
    active INTEGER NOT NULL,
    predecessor TEXT NOT NULL,
    phase INTEGER NOT NULL,
    links BLOB NOT NULL
) STRICT;

CREATE TABLE key_handles (
    name TEXT PRIMARY KEY NOT NULL,
    purpose TEXT NOT NULL,
    spec TEXT NOT NULL,
    public_key BLOB NOT NULL UNIQUE,
    created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A CA has one successor.
CREATE UNIQUE INDEX authorities_predecessor ON authorities (predecessor)
    WHERE predecessor <> '';

-- Private keys of end entities, sealed to the archive key of their authority.
CREATE TABLE archived_keys (
    id INTEGER PRIMARY KEY,
    authority INTEGER NOT NULL REFERENCES names (id),
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    entity TEXT NOT NULL,
    key BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (authority, serial)
) STRICT;
CREATE INDEX archived_keys_entity ON archived_keys (entity, created);

-- The row is about 200 octets; the DER stands aside, so that scans stay small.
CREATE TABLE certificates (
    id INTEGER PRIMARY KEY,
    authority INTEGER NOT NULL REFERENCES names (id),
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    subject TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    spki_hash BLOB NOT NULL,
    subject_key_id BLOB NOT NULL,
    entity TEXT NOT NULL,
    profile INTEGER NOT NULL,
    alias INTEGER NOT NULL,
    protocol INTEGER NOT NULL,
    requester TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    status INTEGER NOT NULL,
    update_state INTEGER NOT NULL,
    reason INTEGER,
    revoked_at INTEGER,
    invalidity_at INTEGER,
    replaces_authority INTEGER,
    replaces_serial BLOB,
    credential INTEGER,
    crl_partition INTEGER NOT NULL,
    UNIQUE (authority, serial)
) STRICT;

-- Every index here is written at each issuance. Of digests only eight octets are
-- indexed: these keys are random, and every octet less keeps more of them in a page.
CREATE INDEX certificates_fingerprint ON certificates (substr(fingerprint, 1, 8));
CREATE INDEX certificates_spki_hash ON certificates (substr(spki_hash, 1, 8));
CREATE INDEX certificates_key_id ON certificates (substr(subject_key_id, 1, 8));
-- Renewal and the web pages find a device by its entity; its certificates are few.
CREATE INDEX certificates_entity ON certificates (entity);
CREATE INDEX certificates_subject ON certificates (subject);
-- Pages "newest first"; it grows at its end only, as the UNIQUE one above.
CREATE INDEX certificates_issued ON certificates (authority, issued_at);
-- It costs nothing at issuance of an active certificate.
CREATE INDEX certificates_status ON certificates (status, authority, issued_at)
    WHERE status <> 2;

CREATE TABLE certificate_der (
    id INTEGER PRIMARY KEY REFERENCES certificates (id),
    der BLOB NOT NULL
) STRICT;

CREATE TABLE transactions (
    id INTEGER PRIMARY KEY,
    transaction_id BLOB NOT NULL,
    alias INTEGER NOT NULL,
    protocol INTEGER NOT NULL,
    requester TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    created INTEGER NOT NULL,
    due INTEGER NOT NULL,
    certificate_authority INTEGER,
    certificate_serial BLOB,
    request_id TEXT,
    state BLOB NOT NULL,
    version INTEGER NOT NULL,
    -- In this order it also finds a transaction whose requester is not known yet.
    UNIQUE (transaction_id, alias, protocol, requester)
) STRICT;
CREATE INDEX transactions_due ON transactions (status, due);

CREATE TABLE entities (
    name TEXT PRIMARY KEY NOT NULL,
    status TEXT NOT NULL,
    created INTEGER NOT NULL,
    subject TEXT NOT NULL,
    alternative_names TEXT NOT NULL,
    authority TEXT NOT NULL,
    certificate_profile TEXT NOT NULL,
    end_entity_profile TEXT NOT NULL,
    vendor TEXT NOT NULL,
    made_by TEXT NOT NULL,
    enrollments_left INTEGER,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX entities_vendor ON entities (vendor) WHERE vendor <> '';

CREATE TABLE credentials (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created INTEGER NOT NULL,
    alias TEXT NOT NULL,
    entity TEXT NOT NULL,
    subject TEXT NOT NULL,
    uses_left INTEGER CHECK (uses_left IS NULL OR uses_left >= 0),
    expires INTEGER,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    binding TEXT NOT NULL,
    UNIQUE (kind, reference)
) STRICT;

CREATE TABLE approvals (
    id TEXT PRIMARY KEY NOT NULL,
    protocol TEXT NOT NULL,
    alias TEXT NOT NULL,
    transaction_requester TEXT NOT NULL,
    transaction_id BLOB NOT NULL,
    request_alias TEXT NOT NULL,
    request_protocol TEXT NOT NULL,
    requester TEXT NOT NULL,
    subject TEXT NOT NULL,
    entity TEXT NOT NULL,
    rule TEXT NOT NULL,
    needed INTEGER NOT NULL,
    enrollment BLOB NOT NULL,
    digest BLOB NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    status TEXT NOT NULL,
    approvers TEXT NOT NULL,
    note TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX approvals_status ON approvals (status, created);

-- "part" 0 is the CRL of certificates that are in no partition; "base" is the number of
-- the full CRL that a delta CRL builds on, 0 for a full one; "revision" is the last
-- change of an entry that is on it.
CREATE TABLE crls (
    authority INTEGER NOT NULL REFERENCES authorities (name),
    part INTEGER NOT NULL,
    delta INTEGER NOT NULL,
    number BLOB NOT NULL CHECK (length(number) = 20),
    base BLOB NOT NULL CHECK (length(base) = 20),
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    der BLOB NOT NULL,
    PRIMARY KEY (authority, part, delta, number)
) STRICT;

-- What a CRL says of a certificate, encoded when it was revoked: to make a CRL is to
-- join them. A released one stays, as removeFromCRL, until a full CRL is made.
-- "revision" rises with every change; the last is in meta "crl-revision".
CREATE TABLE crl_entries (
    authority INTEGER NOT NULL,
    part INTEGER NOT NULL,
    serial BLOB NOT NULL CHECK (length(serial) = 20),
    not_after INTEGER NOT NULL,
    released INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (authority, part, serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX crl_entries_revision ON crl_entries (authority, part, revision);
CREATE INDEX crl_entries_released ON crl_entries (authority, part, revision)
    WHERE released = 1;

-- "event" is the canonical text that the digest chain covers.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    event TEXT NOT NULL
) STRICT;

-- Follows "audit" in slices, up to the sequence in meta "audit-indexed".
CREATE TABLE audit_terms (
    term TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    by_prefix INTEGER NOT NULL,
    PRIMARY KEY (term, sequence, by_prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_checkpoints (
    sequence INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    signature BLOB NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- Accounts, orders and authorizations of identifiers; "record" is all of it as JSON,
-- the columns are what it is found by.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY NOT NULL,
    alias TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    spki_hash BLOB NOT NULL,
    version INTEGER NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (alias, thumbprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_spki_hash ON accounts (spki_hash);

CREATE TABLE orders (
    id TEXT PRIMARY KEY NOT NULL,
    account TEXT NOT NULL,
    status TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    version INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_account ON orders (account, created, id);
CREATE INDEX orders_expires ON orders (expires);
CREATE INDEX orders_processing ON orders (status) WHERE status = 'processing';

CREATE TABLE identifier_authorizations (
    id TEXT PRIMARY KEY NOT NULL,
    account TEXT NOT NULL,
    identifier TEXT NOT NULL,
    expires INTEGER NOT NULL,
    version INTEGER NOT NULL,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX identifier_authorizations_account
    ON identifier_authorizations (account, identifier);
CREATE INDEX identifier_authorizations_expires ON identifier_authorizations (expires);

CREATE TABLE outbox (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

-- How far each publisher has gone along the outbox; what all of them passed is removed.
CREATE TABLE publishers (
    name TEXT PRIMARY KEY NOT NULL,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES ('schema', 1), ('audit-indexed', 0), ('crl-revision', 0);
