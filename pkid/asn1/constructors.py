"""A cheap way to make many frozen values.

Pure. The ``__init__`` of a frozen dataclass sets each slot by a call of
``object.__setattr__``, because its own refuses. For a class of ten fields that takes
longer than reading them from DER. A decoder makes the values of its large classes by
`constructor` instead; whoever else makes one calls the class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def constructor(cls: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """A function that makes the same values as a frozen dataclass, but sooner.

    What it calls is a twin of the class, with the same slots and defaults, which is
    not frozen. The new object is filled by plain assignments and then given its true
    class, so that it is frozen when anybody sees it.

    :param cls: a dataclass with ``frozen`` and ``slots``, whose base is ``object``
        and which has no ``__post_init__``.
    :raises TypeError: when it is another class.
    """
    if not dataclasses.is_dataclass(cls) or hasattr(cls, "__post_init__"):
        raise TypeError("only dataclasses without __post_init__ have a constructor")

    def become(self: object) -> None:
        self.__class__ = cls

    fields = [
        (
            field.name,
            field.type,
            dataclasses.field(
                default=field.default, default_factory=cast(Any, field.default_factory)
            ),
        )
        for field in dataclasses.fields(cls)
    ]
    twin = dataclasses.make_dataclass(
        f"{cls.__name__}Draft",
        fields,
        slots=True,
        eq=False,
        repr=False,
        namespace={"__post_init__": become},
    )
    return cast(Callable[Parameters, Value], twin)
