"""`Section`: a closed set of settings, and annotations that sections have in common."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from opdsl.registry import Registry

# Whether a setting may change while a run goes on (`resume`); every setting says so itself, and the
# JSON schema repeats it. `moved`: another path, where the content is the same.
FREE = Field(json_schema_extra={"resume": "free"})
FIXED = Field(json_schema_extra={"resume": "fixed"})
MOVED = Field(json_schema_extra={"resume": "moved"})

Portion = Annotated[float, Field(gt=0, lt=1)]
AtLeastOne = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def nothing(value: Any) -> Any:
    """Convert the word `none` of a program to None, as if the setting were left out."""
    return None if value == "none" else value


def texts(value: Any) -> Any:
    """Convert one text to a list of it, `none` to an empty list, and calls to plain texts."""
    if value is None or value == "none":
        return []
    values = [value] if isinstance(value, str) else value
    return (
        [str(x) if isinstance(x, str) else x for x in values] if isinstance(values, list) else value
    )


@dataclass(frozen=True, slots=True)
class MemberOf:
    """Annotation of a text that must be the name of a member of a registry."""

    registry: Registry[Any]

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate as a text, then refuse names that are not in the registry."""
        return core_schema.no_info_after_validator_function(self._refuse_unknown, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the setting as a choice among all members, those of other packages too."""
        return {**handler(schema), "enum": list(self.registry.known())}

    def _refuse_unknown(self, name: str) -> str:
        if name not in self.registry.names() and name not in self.registry.known():
            raise ValueError(f"there is no `{name}`")
        return name


class Section(BaseModel):
    """A closed set of settings: an unknown key is a mistake, a number is not a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
