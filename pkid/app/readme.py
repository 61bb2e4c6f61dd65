"""The text that a first user sees: commands that work as they stand.

No secret is in it: ``openssl`` reads it from its file, so that it shows on no terminal,
in no history and in no list of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """Where the first-run alias can be reached.

    :ivar cmp_url: over HTTP; "" when no listener serves it.
    :ivar cmp_tcp: "host:port" over raw TCP; "" likewise.
    :ivar est_url: base of EST's operations; "" likewise.
    :ivar scep_url: of SCEP; "" likewise.
    :ivar acme_directory: URL; "" likewise.
    :ivar crl_file: the issuing CA's revocation list as a file.
    """

    cmp_url: str = ""
    cmp_tcp: str = ""
    est_url: str = ""
    scep_url: str = ""
    acme_directory: str = ""
    crl_file: str = ""


def readme(directory: Path, doors: Doors, *, reference: str) -> str:
    """``README.txt`` of a first-run directory."""
    parts = [_introduction(directory)]
    if doors.cmp_url:
        parts.append(_commands(directory, doors, reference))
    else:
        parts.append("No listener serves CMP over HTTP.\n")
    if doors.cmp_tcp:
        parts.append(f"CMP over TCP, both framings: {doors.cmp_tcp}\n")
    if doors.est_url:
        parts.append(_est_commands(directory, doors.est_url))
    if doors.scep_url:
        parts.append(_scep_commands(directory, doors.scep_url))
    if doors.acme_directory:
        parts.append(_acme_commands(directory, doors.acme_directory, reference))
    parts.append(_outlook(directory))
    return "\n".join(parts)


def _introduction(directory: Path) -> str:
    return f"""\
pkid runs. What a first client needs lies in

    {directory}

    root.pem          the root: what everybody has to trust
    chain.pem         the issuing CA
    credentials.toml  addresses and secrets
    admin.p12         the first administrator's certificate and key (also .pem, .key)

It holds secrets in the clear: move it to a safe place once the try-out is over.
"""


def _commands(directory: Path, doors: Doors, reference: str) -> str:
    url = urlsplit(doors.cmp_url)
    server = f"{url.scheme}://{url.netloc}" if url.scheme == "https" else url.netloc
    path = url.path.lstrip("/")
    first = quote(str(directory))
    cmp = f"openssl cmp -server {server} -path {path}"
    secret = f"-ref {reference} -secret file:$F/cmp.secret"
    trust = "-trusted $F/root.pem -untrusted $F/chain.pem"
    lines = f"""\
Paste these, in a directory of your own, as often as you like:

    F={first}

    # a key, and a certificate for it, by the shared secret
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem
    {cmp} -cmd ir {secret} \\
        -newkey key.pem -subject "/CN=device-1" -certout cert.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert.pem

    # renew it with a new key; the old certificate is the proof
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key2.pem
    {cmp} -cmd kur {trust} \\
        -cert cert.pem -key key.pem -newkey key2.pem -certout cert2.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert2.pem

    # revoke the new one, by itself
    {cmp} -cmd rr {trust} \\
        -cert cert2.pem -key key2.pem -oldcert cert2.pem -revreason 5

    # a PKCS #10 request instead, then revoke its certificate by the secret
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
        -keyout key3.pem -subj "/CN=device-2" -out device-2.csr
    {cmp} -cmd p10cr {secret} \\
        -csr device-2.csr -certout cert3.pem
    {cmp} -cmd rr {secret} \\
        -oldcert cert3.pem -revreason 4

    # what the CA has to say
    {cmp} -cmd genm {secret} \\
        -infotype signKeyPairTypes
"""
    if doors.crl_file:
        lines += f"""
    # the certificates that are revoked, after some seconds
    openssl crl -inform DER -in {quote(doors.crl_file)} -noout -text
"""
    return lines


def _est_commands(directory: Path, url: str) -> str:
    first = quote(str(directory))
    curl = "curl --fail --silent --show-error --cacert $F/root.pem"
    pkcs10 = '-H "Content-Type: application/pkcs10"'
    return f"""\
EST, by curl, which reads user and password from their file:

    F={first}

    # the CA certificates
    {curl} \\
        {url}/cacerts --output cacerts.b64
    openssl base64 -d -in cacerts.b64 | openssl pkcs7 -inform DER -print_certs

    # a key, and a certificate for it
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
        -keyout key4.pem -subj "/CN=device-3" -outform DER -out device-3.der
    openssl base64 -in device-3.der -out device-3.b64
    {curl} --netrc-file $F/est.netrc \\
        {pkcs10} --data-binary @device-3.b64 \\
        {url}/simpleenroll --output cert4.b64
    openssl base64 -d -in cert4.b64 \\
        | openssl pkcs7 -inform DER -print_certs -out cert4.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert4.pem

    # renew it with a new key; the old certificate is the proof
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
        -keyout key5.pem -subj "/CN=device-3" -outform DER -out device-3.der
    openssl base64 -in device-3.der -out device-3.b64
    {curl} --cert cert4.pem --key key4.pem \\
        {pkcs10} --data-binary @device-3.b64 \\
        {url}/simplereenroll --output cert5.b64
    openssl base64 -d -in cert5.b64 \\
        | openssl pkcs7 -inform DER -print_certs -out cert5.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert5.pem
"""


def _acme_commands(directory: Path, url: str, reference: str) -> str:
    first = quote(str(directory))
    return f"""\
ACME, by lego, whose account is vouched for by the external account key of this try-out;
that key speaks for all names below pkid.test, so that nothing has to be proven:

    F={first}

    # a certificate, and another one for the same name
    LEGO_CA_CERTIFICATES=$F/root.pem lego --accept-tos --email you@pkid.test --eab \\
        --kid {reference} --hmac "$(cat $F/acme.hmac)" --server {url} \\
        --domains www.pkid.test --http --http.port 127.0.0.1:5002 --path lego run
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem \\
        lego/certificates/www.pkid.test.crt
    LEGO_CA_CERTIFICATES=$F/root.pem lego --accept-tos --email you@pkid.test --eab \\
        --kid {reference} --hmac "$(cat $F/acme.hmac)" --server {url} \\
        --domains www.pkid.test --http --http.port 127.0.0.1:5002 --path lego \\
        renew --days 3650 --no-random-sleep
"""


def _scep_commands(directory: Path, url: str) -> str:
    first = quote(str(directory))
    scep = f"pki --scep --url {url}"
    return f"""\
SCEP, by strongSwan's pki (Debian: strongswan-pki, libstrongswan-standard-plugins and
libstrongswan-extra-plugins), which reads the challenge from its file:

    F={first}

    # the certificates of the CA and of its RA
    pki --scepca --url {url} \\
        --caout ca.pem --raout ra.pem --outform pem --force

    # a key, and a certificate for it
    pki --gen --type rsa --size 2048 --outform pem > key6.pem
    {scep} --options $F/scep.options \\
        --in key6.pem --dn "CN=device-4" --cacert-enc ra.pem --cacert-sig ra.pem \\
        --cacert ca.pem --cacert ca-1.pem --outform pem > cert6.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert6.pem

    # renew it with a new key; the old certificate is the proof
    pki --gen --type rsa --size 2048 --outform pem > key7.pem
    {scep} --in key7.pem --dn "CN=device-4" \\
        --cert cert6.pem --key key6.pem --cacert-enc ra.pem --cacert-sig ra.pem \\
        --cacert ca.pem --cacert ca-1.pem --outform pem > cert7.pem
    openssl verify -CAfile $F/root.pem -untrusted $F/chain.pem cert7.pem
"""


def _outlook(directory: Path) -> str:
    state = quote(str(directory.parent))
    return f"""\
The operator's tool:

    pkid --state {state} status
    pkid --state {state} secret add --help

From try-out to production: pkid init --hostname ca.example.com --listen 0.0.0.0
"""
