"""pyasn1's module of RFC 9810, its KeyRecRepContent brought up to date.

There it is that of RFC 4210, whose CertifiedKeyPair knows no EnvelopedData.
"""

from __future__ import annotations

from typing import Any

from pyasn1.type import constraint, namedtype, tag, univ
from pyasn1_alt_modules import rfc5280, rfc9810

_SOME = constraint.ValueSizeConstraint(1, rfc9810.MAX)


def _tagged(kind: Any, number: int) -> Any:
    form = tag.Tag(tag.tagClassContext, tag.tagFormatConstructed, number)
    return kind.subtype(explicitTag=form)


class KeyRecRepContent(univ.Sequence):
    """``KeyRecRepContent`` as appendix F of RFC 9810 has it."""

    componentType = namedtype.NamedTypes(  # noqa: N815  pyasn1's own word
        namedtype.NamedType("status", rfc9810.PKIStatusInfo()),
        namedtype.OptionalNamedType("newSigCert", _tagged(rfc5280.Certificate(), 0)),
        namedtype.OptionalNamedType(
            "caCerts",
            _tagged(
                univ.SequenceOf(componentType=rfc5280.Certificate()).subtype(
                    sizeSpec=_SOME
                ),
                1,
            ),
        ),
        namedtype.OptionalNamedType(
            "keyPairHist",
            _tagged(
                univ.SequenceOf(componentType=rfc9810.CertifiedKeyPair()).subtype(
                    sizeSpec=_SOME
                ),
                2,
            ),
        ),
    )


class PKIBody(univ.Choice):
    """``PKIBody`` with that krp."""

    componentType = namedtype.NamedTypes(  # noqa: N815  pyasn1's own word
        *(
            namedtype.NamedType("krp", _tagged(KeyRecRepContent(), 10))
            if one.name == "krp"
            else one
            for one in rfc9810.PKIBody.componentType.namedTypes
        )
    )


class PKIMessage(univ.Sequence):
    """``PKIMessage`` with that body."""

    componentType = namedtype.NamedTypes(  # noqa: N815  pyasn1's own word
        *(
            namedtype.NamedType("body", PKIBody()) if one.name == "body" else one
            for one in rfc9810.PKIMessage.componentType.namedTypes
        )
    )
