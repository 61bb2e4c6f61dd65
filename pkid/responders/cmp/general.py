"""genm and genp: questions about the CA, answered one by one.

A closed table of info types; those that are not in it are listed in unsupportedOIDs.

**Source:** RFC 9810 section 5.3.19; RFC 9483 section 4.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import CURVE_OIDS, decode_key_specs
from pkid.engine.aliases import Policies
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.singles import find_repeat, finished_record

LANGUAGE: Final = "en"

_AES_256_CBC: Final = AlgorithmIdentifier("2.16.840.1.101.3.4.1.42")
_RSA: Final = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
_KEY_ALGORITHMS: Final = {
    "rsa": _RSA,
    "ed25519": AlgorithmIdentifier(oids.ID_ED25519),
    "ed448": AlgorithmIdentifier(oids.ID_ED448),
    "ml-dsa-44": AlgorithmIdentifier(oids.ID_ML_DSA_44),
    "ml-dsa-65": AlgorithmIdentifier(oids.ID_ML_DSA_65),
    "ml-dsa-87": AlgorithmIdentifier(oids.ID_ML_DSA_87),
    "ml-kem-768": AlgorithmIdentifier(oids.ID_ALG_ML_KEM_768),
    "ml-kem-1024": AlgorithmIdentifier(oids.ID_ALG_ML_KEM_1024),
    "x25519": AlgorithmIdentifier(oids.ID_X25519),
    "x448": AlgorithmIdentifier(oids.ID_X448),
}
_SIGNS: Final = ("rsa", "ec:", "ed25519", "ed448", "ml-dsa-")
_ENCRYPTS: Final = ("rsa", "ec:", "x25519", "x448", "ml-kem-")

Answer = Callable[[CMPAlias], Awaitable[bytes | None]]


class GeneralMessages:
    """Answers general messages."""

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        clock: Clock,
        policies: Callable[[], Policies],
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._policies = policies
        self._table: dict[str, Answer] = {
            # No certificate of ours takes encrypted data.
            oids.ID_IT_CA_PROT_ENC_CERT: _absent,
            oids.ID_IT_SIGN_KEY_PAIR_TYPES: self._sign_key_pair_types,
            oids.ID_IT_ENC_KEY_PAIR_TYPES: self._enc_key_pair_types,
            oids.ID_IT_PREFERRED_SYMM_ALG: _preferred_symm_alg,
            oids.ID_IT_CURRENT_CRL: self._current_crl,
            oids.ID_IT_CA_CERTS: self._ca_certs,
        }

    async def answer(self, request: Request) -> Answered:
        """Answer a genm.

        :raises PKIError: ``BAD_REQUEST`` for a value where none belongs or no common
            language; ``UNAVAILABLE`` when a CRL is asked for and overdue.
        """
        repeat = await find_repeat(self._engine, request)
        if repeat is not None:
            return repeat
        body = decode_body(request.message)
        if not isinstance(body, GenMsgContent):
            raise PKIError(ErrorCode.INTERNAL, "not a genm")
        values = await self._values(request.alias, body.info_values)
        draft = Draft(body_type=BodyType.GENP, body=GenMsgContent(values))
        sealed = await self._answers.answer(request, draft)
        now = self._clock.now()
        await self._engine.begin(finished_record(request, BodyType.GENM, sealed, now))
        return Answered(octets=sealed.octets)

    async def _values(
        self, alias: CMPAlias, asked: tuple[InfoTypeAndValue, ...]
    ) -> tuple[InfoTypeAndValue, ...]:
        found: list[InfoTypeAndValue] = []
        unknown: dict[str, bytes] = {}
        for info in asked:
            answer = self._table.get(info.oid)
            if info.oid == oids.ID_IT_SUPP_LANG_TAGS:
                found.append(InfoTypeAndValue(info.oid, _language(info.value)))
            elif info.oid == oids.ID_IT_KEY_PAIR_PARAM_REQ:
                # Absent: no algorithm here takes parameters of its own.
                found.append(InfoTypeAndValue(oids.ID_IT_KEY_PAIR_PARAM_REP))
            elif answer is None:
                unknown[info.oid] = der.oid(info.oid)
            else:
                _check_absent(info.value)
                found.append(InfoTypeAndValue(info.oid, await answer(alias)))
        if unknown:
            found.append(
                InfoTypeAndValue(
                    oids.ID_IT_UNSUPPORTED_OIDS, der.sequence(*unknown.values())
                )
            )
        return tuple(found)

    async def _sign_key_pair_types(self, alias: CMPAlias) -> bytes | None:
        return self._key_types(alias, _SIGNS)

    async def _enc_key_pair_types(self, alias: CMPAlias) -> bytes | None:
        return self._key_types(alias, _ENCRYPTS)

    async def _current_crl(self, alias: CMPAlias) -> bytes:
        record = await self._engine.latest_crl(alias.alias.authority)
        return record.der

    async def _ca_certs(self, alias: CMPAlias) -> bytes:
        return der.sequence(*self._engine.chain(alias.alias.authority))

    def _key_types(self, alias: CMPAlias, uses: tuple[str, ...]) -> bytes | None:
        """The key types that any profile of the alias admits; None for none."""
        policies = self._policies()
        names = (alias.alias.certificate_profile, *alias.alias.profiles)
        families = {
            spec.family: None
            for name in names
            for spec in decode_key_specs(policies.certificate_profile(name).keys)
            if spec.family.startswith(uses)
        }
        return _encode_types(families) if families else None


async def _absent(_alias: CMPAlias) -> None:
    return None


async def _preferred_symm_alg(_alias: CMPAlias) -> bytes:
    return _AES_256_CBC.encode()


def _encode_types(families: Iterable[str]) -> bytes:
    return der.sequence(*(_key_algorithm(family).encode() for family in families))


def _key_algorithm(family: str) -> AlgorithmIdentifier:
    kind, _, curve = family.partition(":")
    if kind == "ec":
        return AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(CURVE_OIDS[curve]))
    return _KEY_ALGORITHMS[family]


def _check_absent(value: bytes | None) -> None:
    if value is not None:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "this infoType carries no value in a genm"
        )


def _language(value: bytes | None) -> bytes:
    """The first English tag offered, as the one to be used.

    :raises PKIError: ``BAD_REQUEST`` when there is none.

    **Source:** RFC 9810 section 5.3.19.13.
    """
    if value is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "suppLangTags names no language")
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    while cursor:
        tag = der.decode_utf8(cursor.take(der.UTF8_STRING))
        if tag.lower().split("-")[0] == LANGUAGE:
            return der.sequence(der.utf8_string(tag))
    raise PKIError(
        ErrorCode.BAD_REQUEST, f"only the language {LANGUAGE!r} is spoken here"
    )
