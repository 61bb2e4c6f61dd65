"""genm and genp: questions about the CA, answered one by one.

A closed table of info types; those that are not in it are listed in unsupportedOIDs.
What belongs into a header (implicitConfirm, confirmWaitTime, origPKIMessage,
certProfile) or into an answer is no question and is listed there too.

**Source:** RFC 9810 section 5.3.19; RFC 9483 section 4.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import KeySpec, decode_key_specs
from pkid.engine.aliases import Policies
from pkid.engine.ports import Clock
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.announcements import CAKeyUpdAnnContent, RootCaKeyUpdateContent
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.crlstatus import CRLIssuer, CRLStatus, FullName
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.headers import read_wishes
from pkid.responders.cmp.keyoffers import (
    ENCRYPTION,
    SIGNING,
    key_parameters,
    key_types,
    request_template,
)
from pkid.responders.cmp.passphrases import RevocationPassphrases
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.singles import find_repeat, finished_record

LANGUAGE: Final = "en"

_AES_256_CBC: Final = AlgorithmIdentifier("2.16.840.1.101.3.4.1.42")
_ANY: Final = "any"


@dataclass(frozen=True, slots=True)
class Question:
    """One piece of information asked for."""

    request: Request
    info: InfoTypeAndValue

    @property
    def authority(self) -> str:
        """Name of the CA that is asked."""
        return self.request.alias.alias.authority

    def check_absent(self) -> None:
        """Refuse a value: the question has none.

        :raises PKIError: ``BAD_REQUEST``.
        """
        if self.info.value is not None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "this infoType carries no value in a genm"
            )


Answer = Callable[[Question], Awaitable[InfoTypeAndValue]]


class GeneralMessages:
    """Answers general messages."""

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        clock: Clock,
        policies: Callable[[], Policies],
        passphrases: RevocationPassphrases,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._policies = policies
        self._passphrases = passphrases
        self._table: dict[str, Answer] = {
            oids.ID_IT_CA_PROT_ENC_CERT: self._ca_prot_enc_cert,
            oids.ID_IT_SIGN_KEY_PAIR_TYPES: self._sign_key_pair_types,
            oids.ID_IT_ENC_KEY_PAIR_TYPES: self._enc_key_pair_types,
            oids.ID_IT_PREFERRED_SYMM_ALG: _preferred_symm_alg,
            oids.ID_IT_CA_KEY_UPDATE_INFO: self._ca_key_update_info,
            oids.ID_IT_CURRENT_CRL: self._current_crl,
            oids.ID_IT_KEY_PAIR_PARAM_REQ: self._key_pair_param,
            oids.ID_IT_REV_PASSPHRASE: self._rev_passphrase,
            oids.ID_IT_SUPP_LANG_TAGS: _supp_lang_tags,
            oids.ID_IT_CA_CERTS: self._ca_certs,
            oids.ID_IT_CERT_REQ_TEMPLATE: self._cert_req_template,
            oids.ID_IT_ROOT_CA_CERT: self._root_ca_cert,
            oids.ID_IT_CRL_STATUS_LIST: self._crl_status_list,
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
        values = await self._values(request, body.info_values)
        draft = Draft(body_type=BodyType.GENP, body=GenMsgContent(values))
        sealed = await self._answers.answer(request, draft)
        now = self._clock.now()
        await self._engine.begin(finished_record(request, BodyType.GENM, sealed, now))
        return Answered(octets=sealed.octets)

    async def _values(
        self, request: Request, asked: tuple[InfoTypeAndValue, ...]
    ) -> tuple[InfoTypeAndValue, ...]:
        found: list[InfoTypeAndValue] = []
        unknown: dict[str, None] = {}
        for info in asked:
            answer = self._table.get(info.oid)
            if answer is None:
                unknown[info.oid] = None
            else:
                found.append(await answer(Question(request, info)))
        if unknown:
            found.append(infotypes.UNSUPPORTED_OIDS.info(tuple(unknown)))
        return tuple(found)

    # --- keys and requests -------------------------------------------------------

    async def _ca_prot_enc_cert(self, question: Question) -> InfoTypeAndValue:
        """What to encrypt to: by RSA, by agreement, or by encapsulation."""
        question.check_absent()
        engine, authority = self._engine, question.authority
        identity = (
            engine.key_receivers.find(authority)
            or engine.find_agreement_identity(authority)
            or engine.find_kem_identity(authority)
        )
        certificate = None if identity is None else identity.certificate
        return infotypes.CA_PROT_ENC_CERT.info(certificate)

    async def _sign_key_pair_types(self, question: Question) -> InfoTypeAndValue:
        question.check_absent()
        found = key_types(self._key_specs(question), SIGNING)
        return infotypes.SIGN_KEY_PAIR_TYPES.info(found or None)

    async def _enc_key_pair_types(self, question: Question) -> InfoTypeAndValue:
        question.check_absent()
        found = key_types(self._key_specs(question), ENCRYPTION)
        return infotypes.ENC_KEY_PAIR_TYPES.info(found or None)

    async def _key_pair_param(self, question: Question) -> InfoTypeAndValue:
        algorithm = infotypes.KEY_PAIR_PARAM_REQ.read(question.info)
        if algorithm is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "keyPairParamReq names no algorithm")
        found = key_parameters(self._key_specs(question), algorithm)
        return infotypes.KEY_PAIR_PARAM_REP.info(found)

    async def _cert_req_template(self, question: Question) -> InfoTypeAndValue:
        """The template of the profile named in the header, or of the alias's own.

        :raises PKIError: ``BAD_TEMPLATE`` for a profile that is not offered here.
        """
        question.check_absent()
        alias = question.request.alias.alias
        name = read_wishes(question.request.header).profile
        if name is not None and name not in (
            *alias.profiles,
            alias.certificate_profile,
        ):
            raise PKIError(
                ErrorCode.BAD_TEMPLATE,
                "this certificate profile is not offered here",
                hint=f"add {name!r} to profiles of alias {alias.name}",
            )
        policies = self._policies()
        profile = policies.certificate_profile(name or alias.certificate_profile)
        rules = policies.end_entity_profiles.get(
            alias.end_entity_profile, EndEntityProfile(name=_ANY)
        )
        specs = decode_key_specs(profile.keys)
        template = request_template(profile, rules, specs)
        return infotypes.CERT_REQ_TEMPLATE.info(template)

    def _key_specs(self, question: Question) -> tuple[KeySpec, ...]:
        """The keys that any profile of the alias takes, in the order of profiles."""
        return tuple(
            spec
            for profile in self._profiles(question)
            for spec in decode_key_specs(profile.keys)
        )

    def _profiles(self, question: Question) -> Iterable[CertificateProfile]:
        policies, alias = self._policies(), question.request.alias.alias
        names = (alias.certificate_profile, *alias.profiles)
        return map(policies.certificate_profile, names)

    async def _rev_passphrase(self, question: Question) -> InfoTypeAndValue:
        """Keep what revokes the requester's certificates; say that it was kept."""
        await self._passphrases.keep(question.request, question.info)
        return infotypes.REV_PASSPHRASE.info()

    # --- certificates of CAs -----------------------------------------------------

    async def _ca_certs(self, question: Question) -> InfoTypeAndValue:
        question.check_absent()
        found = self._engine.rollover.published(question.authority)
        return infotypes.CA_CERTS.info(found or None)

    async def _root_ca_cert(self, question: Question) -> InfoTypeAndValue:
        """What leads from the client's root to the next; absent when nothing does."""
        root = infotypes.ROOT_CA_CERT.read(question.info)
        return infotypes.ROOT_CA_KEY_UPDATE.info(self._update(question, root))

    async def _ca_key_update_info(self, question: Question) -> InfoTypeAndValue:
        """The same in the form of version 2.

        **Source:** RFC 4210 section 5.3.19.5.
        """
        question.check_absent()
        update = self._update(question, None)
        if update is None or update.old_with_new is None or update.new_with_old is None:
            return infotypes.CA_KEY_UPDATE_INFO.info(None)
        return infotypes.CA_KEY_UPDATE_INFO.info(
            CAKeyUpdAnnContent(
                old_with_new=update.old_with_new,
                new_with_old=update.new_with_old,
                new_with_new=update.new_with_new,
            )
        )

    def _update(
        self, question: Question, root: bytes | None
    ) -> RootCaKeyUpdateContent | None:
        """How to get from a root to its successor.

        :param root: None is the root in force.
        """
        if root is None:
            root = self._engine.chain(question.authority)[-1]
        found = self._engine.rollover.root_update(root)
        if found is None:
            return None
        return RootCaKeyUpdateContent(
            new_with_new=found.new_with_new,
            new_with_old=found.new_with_old,
            old_with_new=found.old_with_new,
        )

    # --- CRLs --------------------------------------------------------------------

    async def _current_crl(self, question: Question) -> InfoTypeAndValue:
        question.check_absent()
        record = await self._engine.latest_crl(question.authority)
        return infotypes.CURRENT_CRL.info(record.der)

    async def _crl_status_list(self, question: Question) -> InfoTypeAndValue:
        """CRLs of the sources named that are newer than the client's.

        A source that is not of this PKI gives nothing; nothing is ever fetched.

        :raises PKIError: ``BAD_REQUEST`` when no source is named, ``UNAVAILABLE``.
        """
        statuses = infotypes.CRL_STATUS_LIST.read(question.info)
        if statuses is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "crlStatusList names no source")
        found: dict[bytes, None] = {}
        for status in statuses:
            for authority in self._sources(status):
                record = await self._engine.latest_crl(authority)
                known = status.this_update
                if known is None or record.this_update > known:
                    found[record.der] = None
        return infotypes.CRLS.info(tuple(found) or None)

    def _sources(self, status: CRLStatus) -> list[str]:
        """The authorities that issue the CRL of a source."""
        match status.source:
            case CRLIssuer(names):
                return [
                    authority
                    for authority in self._engine.authority_names()
                    if any(self._is_issuer(authority, name) for name in names)
                ]
            case FullName(names):
                return [
                    authority
                    for authority in self._engine.authority_names()
                    if self._point(authority) in names
                    or any(self._is_issuer(authority, name) for name in names)
                ]
            case _:
                # Our distribution points are URLs: none is relative to its issuer.
                return []

    def _is_issuer(self, authority: str, name: GeneralName) -> bool:
        directory_name = name.directory_name
        return directory_name is not None and directory_name.matches(
            self._engine.authority_subject(authority)
        )

    def _point(self, authority: str) -> GeneralName:
        """The distribution point that stands in certificates of an authority."""
        base = self._policies().authority(authority).public_url.rstrip("/")
        return GeneralName.uri(f"{base}/crls/{authority}.crl")


async def _preferred_symm_alg(question: Question) -> InfoTypeAndValue:
    question.check_absent()
    return infotypes.PREFERRED_SYMM_ALG.info(_AES_256_CBC)


async def _supp_lang_tags(question: Question) -> InfoTypeAndValue:
    """The first English tag offered, as the one to be used.

    :raises PKIError: ``BAD_REQUEST`` when there is none.

    **Source:** RFC 9810 section 5.3.19.13.
    """
    tags = infotypes.SUPP_LANG_TAGS.read(question.info)
    if not tags:
        raise PKIError(ErrorCode.BAD_REQUEST, "suppLangTags names no language")
    for tag in tags:
        if tag.lower().split("-")[0] == LANGUAGE:
            return infotypes.SUPP_LANG_TAGS.info((tag,))
    raise PKIError(
        ErrorCode.BAD_REQUEST, f"only the language {LANGUAGE!r} is spoken here"
    )
