"""Settings of an experiment: typed, with ranges, documented by the string under each field."""

from typing import Any, TypeVar, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from orrery.errors import UsageError

S = TypeVar("S", bound="Settings")


def Range(low: int | float, high: int | float, unit: str = "") -> Any:  # noqa: N802  (reads as a type)
    """The values a setting may take, both ends included, and their unit."""
    return Field(ge=low, le=high, json_schema_extra={"unit": unit} if unit else None)


class Settings(BaseModel):
    """Base of every experiment's settings: frozen, no unknown names, no NaN."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False,
        validate_default=True,
    )  # fmt: skip

    @classmethod
    def parse(cls: type[S], values: dict[str, Any]) -> S:
        """Settings from names and values, which may be text; `a,b` gives a tuple.

        Raises:
            UsageError: a name or value is not allowed; one line names field, value and range.
        """
        texts = {k: _split(v) if cls._is_tuple(k) else v for k, v in values.items()}
        try:
            return cls.model_validate(texts)
        except pydantic.ValidationError as error:
            raise UsageError("; ".join(map(_line, error.errors()))) from None

    @classmethod
    def _is_tuple(cls, name: str) -> bool:
        field = cls.model_fields.get(name)
        return field is not None and get_origin(field.annotation) is tuple


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _line(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"]) or "settings"
    return f"{name}={error['input']!r}: {error['msg']}"
