"""The cheap way to make frozen values."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from pkid.asn1.constructors import constructor


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 7
    labels: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    x: int

    def __post_init__(self) -> None:
        raise ValueError("never")


make_point = constructor(Point)


def test_a_made_value_is_of_the_class_itself() -> None:
    assert type(make_point(1, 2)) is Point
    assert repr(make_point(1, 2)) == "Point(x=1, y=2, labels=[])"


def test_a_made_value_equals_one_of_the_class() -> None:
    assert make_point(1, 2, ["a"]) == Point(1, 2, ["a"])
    assert make_point(x=1) == Point(1)
    assert make_point(1) != Point(2)


def test_a_made_value_is_frozen() -> None:
    point = make_point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.y


def test_a_made_value_has_no_dictionary() -> None:
    assert not hasattr(make_point(1), "__dict__")


def test_defaults_made_by_a_factory_are_not_shared() -> None:
    make_point(1).labels.append("mine")
    assert make_point(1).labels == []


def test_a_made_value_can_be_replaced_copied_and_pickled() -> None:
    point = make_point(1, 2)
    assert dataclasses.replace(point, y=3) == Point(1, 3)
    assert pickle.loads(pickle.dumps(point)) == point


def test_missing_parameters_are_refused_as_by_the_class() -> None:
    with pytest.raises(TypeError):
        make_point()  # type: ignore[call-arg]


@pytest.mark.parametrize("cls", [int, Checked])
def test_other_classes_have_no_constructor(cls: type) -> None:
    with pytest.raises(TypeError):
        constructor(cls)
