"""HTTP Digest: the RFC's own example, and whatever else a header may hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.crypto.httpdigest import MD5, SHA256, DigestCredentials
from pkid.errors import ErrorCode, PKIError

# RFC 7616 section 3.9.1.
EXAMPLE = (
    'username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html",'
    ' algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
    ' nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,'
    ' response="{response}", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
RESPONSES = {
    MD5: "8ca523f5e9506fed4657c9700eebdbec",
    SHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", sorted(RESPONSES))
def test_the_example_of_the_rfc_is_right(algorithm: str) -> None:
    text = EXAMPLE.format(algorithm=algorithm, response=RESPONSES[algorithm])
    found = DigestCredentials.decode(text)
    found.verify(b"Circle of Life", "GET")
    for secret, method in ((b"Circle of Death", "GET"), (b"Circle of Life", "POST")):
        with pytest.raises(PKIError) as caught:
            found.verify(secret, method)
        assert caught.value.code is ErrorCode.BAD_MESSAGE_CHECK


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(
            st.sampled_from(
                ['nonce="a"', "qop=auth", 'uri="/x', "\\", ",", "=", 'response="é"']
            ),
            max_size=40,
        ).map(",".join),
    )
)
def test_any_text_is_credentials_or_refused(text: str) -> None:
    try:
        found: object = DigestCredentials.decode(text)
    except PKIError as error:
        found = error.code
    assert found in {ErrorCode.MALFORMED, ErrorCode.BAD_ALGORITHM} or isinstance(
        found, DigestCredentials
    )


def test_a_parameter_that_stands_twice_with_two_values_is_refused() -> None:
    text = EXAMPLE.format(algorithm=MD5, response=RESPONSES[MD5])
    with pytest.raises(PKIError):
        DigestCredentials.decode(f'{text}, realm="another"')
    with pytest.raises(PKIError):
        DigestCredentials.decode(",".join(["a=b"] * 40))
