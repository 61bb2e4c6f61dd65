"""Secrets are compared in constant time and chance comes from the system."""

from __future__ import annotations

import ast
import re

import pytest

from tests.project.sources import imports, is_within, sources

SECRET = re.compile(
    r"(^|_)(secret|mac|token|challenge|password|hmac|cert_hash)(s?$|_value$)"
)
# A name that says it is not the secret itself: an algorithm, a kind, a count.
HARMLESS = re.compile(r"(^|_)(algorithm|kind|name|oid|type|length|size|id)(_|$)")


def secrets_compared(tree: ast.AST) -> list[ast.Compare]:
    """Find ``==`` and ``!=`` with a secret on either side and no constant."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(_names_a_secret(side) for side in (node.left, *node.comparators))
        and not any(_is_harmless(side) for side in (node.left, *node.comparators))
    ]


def _last_name(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return expression.attr
    if isinstance(expression, ast.Name):
        return expression.id
    return ""


def _names_a_secret(expression: ast.expr) -> bool:
    name = _last_name(expression).lower()
    return bool(SECRET.search(name)) and not HARMLESS.search(name)


def _is_harmless(expression: ast.expr) -> bool:
    # An enumeration's member or a number says which kind, not which value.
    constant = isinstance(expression, ast.Constant) and not isinstance(
        expression.value, bytes | str
    )
    return constant or _last_name(expression).isupper()


@pytest.mark.parametrize(
    "expression",
    ["secret == x", "a.mac != b", "x == row.token", "challenge == y", "b'x' == secret"],
)
def test_the_search_sees_a_comparison_of_secrets(expression: str) -> None:
    assert len(secrets_compared(ast.parse(expression))) == 1


@pytest.mark.parametrize(
    "expression",
    ["kind == Kind.MAC", "len(secret) == 16", "mac_algorithm == other", "a == b"],
)
def test_the_search_leaves_other_comparisons_alone(expression: str) -> None:
    assert secrets_compared(ast.parse(expression)) == []


@pytest.mark.requirement("SEC-107")
def test_no_secret_is_compared_with_equals() -> None:
    strays = [
        f"{source.at(node)} {ast.unparse(node)}"
        for source in sources()
        for node in secrets_compared(source.tree)
    ]
    assert strays == []


def test_chance_never_comes_from_the_random_module() -> None:
    strays = [
        f"{source.at(node)} imports {name}"
        for source in sources()
        for node, name in imports(source)
        if is_within(name, "random") or is_within(name, "uuid.uuid1")
    ]
    assert strays == []
