"""Controls of a request for a certificate: each is read, some are refused.

===================  ================================================================
regToken             counts where the alias takes it (``registration_token``)
authenticator        an answer known to both sides; no entrance asks for one: let pass
pkiPublicationInfo   no certificate is published by itself: dontPublish is what
                     happens, pleasePublish is a wish
pkiArchiveOptions    where the alias archives keys
oldCertID            names the certificate that a kur updates
protocolEncrKey      the key that a krr is answered to; elsewhere let pass
altCertTemplate      refused: no other kind of certificate is made
algId, rsaKeyLen     refused: they stand in templates that a CA gives
===================  ================================================================

**Source:** RFC 4211 section 6; RFC 9810 section 5.3.19.16.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1 import oids
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import Body, CertReqMessages
from pkid.messages.controls import decode_control
from pkid.messages.crmf import AttributeTypeAndValue

_OF_TEMPLATES: Final = {
    oids.ID_REG_CTRL_ALG_ID: "algId",
    oids.ID_REG_CTRL_RSA_KEY_LEN: "rsaKeyLen",
}


def check_controls(body: Body) -> None:
    """Check the controls of all requests in a body.

    :raises PKIError: ``MALFORMED`` for one that is broken; ``BAD_REQUEST`` for one that
        stands twice, or does not belong into a request.
    """
    if isinstance(body, CertReqMessages):
        for message in body.messages:
            if message.cert_req.controls:
                _check(message.cert_req.controls)


def _check(controls: tuple[AttributeTypeAndValue, ...]) -> None:
    seen: set[str] = set()
    for control in controls:
        decode_control(control)
        name = _OF_TEMPLATES.get(control.oid)
        if name is not None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, f"the control {name} stands in templates only"
            )
        if control.oid in seen:
            raise PKIError(
                ErrorCode.BAD_REQUEST, f"the control {control.oid} stands twice"
            )
        seen.add(control.oid)
