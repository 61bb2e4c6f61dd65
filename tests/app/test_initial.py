from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app.config import built_in_text, load_configuration
from pkid.app.initial import initialise, set_key
from pkid.app.kinds import ConfigurationError, quote
from pkid.errors import PKIError


def test_a_key_is_replaced_where_it_stands() -> None:
    text = "# top\na = 1  # why\n\n[t]\na = 2\n"
    assert set_key(text, "", "a", "3") == "# top\na = 3\n\n[t]\na = 2\n"
    assert set_key(text, "t", "a", "3") == "# top\na = 1  # why\n\n[t]\na = 3\n"


def test_a_commented_key_is_uncommented_in_place() -> None:
    text = '# public_url = "x"\n\n[t]\n# public_url = "y"\n'
    assert set_key(text, "t", "public_url", '"z"') == (
        '# public_url = "x"\n\n[t]\npublic_url = "z"\n'
    )


def test_a_key_that_is_not_there_is_put_into_its_table() -> None:
    assert set_key("[t]\nb = 1\n", "t", "a", "3") == "[t]\na = 3\nb = 1\n"
    assert set_key("[t]\nb = 1\n", "", "a", "3") == "a = 3\n[t]\nb = 1\n"


def test_a_table_that_is_not_there_is_added() -> None:
    assert tomllib.loads(set_key("a = 1\n", "t.u", "b", "2")) == {
        "a": 1,
        "t": {"u": {"b": 2}},
    }


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_any_text_survives_quoting(text: str) -> None:
    changed = set_key("[t]\nb = 1\n", "t", "a", quote(text))
    assert tomllib.loads(changed)["t"]["a"] == text


def test_the_shipped_comments_stay(tmp_path: Path) -> None:
    initialise(tmp_path / "state", hostname="ca.example.com", listen="0.0.0.0")
    text = (tmp_path / "state" / "pkid.conf").read_text()
    kept = set(built_in_text().splitlines()) - set(text.splitlines())
    assert len(kept) <= 4
    configuration = load_configuration(tmp_path / "state" / "pkid.conf")
    assert configuration.general.public_url == "http://ca.example.com:8080"
    assert all(one.beyond_loopback for one in configuration.listeners.values())


def test_a_second_init_changes_the_same_lines(tmp_path: Path) -> None:
    initialise(tmp_path / "state", hostname="a.example", listen="0.0.0.0")
    before = (tmp_path / "state" / "pkid.conf").read_text().splitlines()
    initialise(tmp_path / "state", hostname="2001:db8::1", listen="::")
    after = (tmp_path / "state" / "pkid.conf").read_text().splitlines()
    assert len(before) == len(after)
    assert 'public_url = "http://[2001:db8::1]:8080"' in after


@pytest.mark.parametrize(
    ("hostname", "listen"),
    [
        ("", ""),
        ("a b", ""),
        ("-a", ""),
        ("a..b", ""),
        ('a"', ""),
        ("a\nb", ""),
        ("a.example", "eth0"),
        ("a.example", "0.0.0.0:80"),
    ],
)
def test_what_is_no_name_or_address_is_refused(
    hostname: str, listen: str, tmp_path: Path
) -> None:
    with pytest.raises(PKIError):
        initialise(tmp_path / "state", hostname=hostname, listen=listen)
    assert not (tmp_path / "state").exists()


def test_a_file_with_faults_is_not_touched(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "pkid.conf").write_text("nonsense = 1\n")
    with pytest.raises(ConfigurationError):
        initialise(state, hostname="a.example", listen="")
    assert (state / "pkid.conf").read_text() == "nonsense = 1\n"
