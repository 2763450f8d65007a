"""Validating a part of an experiment file, and saying in one line what is wrong with it.

A message has the dotted path of the field, the value given, what is allowed, and where it was given.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wealtharena.document import Document, KeyPath, close_match, shown
from wealtharena.errors import UserError

ModelT = TypeVar("ModelT", bound=BaseModel)


def validate(model: type[ModelT], document: Document, at: KeyPath = ()) -> ModelT:
    """Makes ``model`` of the section of ``document`` at the path ``at``.

    Raises:
        UserError: The section does not fit; names the first fault and counts the others.
    """
    raw = value_at(document.data, at)
    try:
        parsed = model.model_validate(raw)
    except ValidationError as error:
        raise UserError(_explain(error, model, document, at)) from error
    for path, value, number in _coerced(raw, parsed.model_dump(by_alias=True)):
        raise UserError(complaint(document, (*at, *path), f"must be a number like {number!r}", value))
    return parsed


def complaint(document: Document, path: KeyPath, rule: str, value: Any = None) -> str:
    """``a.b.c = value: rule [file, line]``."""
    given = "" if value is None else f" = {shown(value)}"
    return f"{'.'.join(map(str, path)) or 'the file'}{given}: {rule} [{document.origin(path)}]"


def value_at(data: Any, path: KeyPath) -> Any:
    """What stands at ``path``; an absent section is an empty one."""
    for key in path:
        data = data.get(key, {})
    return data


def _explain(error: ValidationError, model: type[BaseModel], document: Document, at: KeyPath) -> str:
    # A misspelt key is often the reason why another one is missing: it comes first.
    first, *others = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    path = (*at, *_written_path(first["loc"], value_at(document.data, at)))
    value = (
        None if first["type"] in {"extra_forbidden", "missing"} or isinstance(first["input"], dict) else first["input"]
    )
    more = f" (and {len(others)} more)" if others else ""
    return complaint(document, path, _unknown_key(first, model) or rule_of(first), value) + more


def rule_of(fault: ErrorDetails) -> str:
    """What is allowed, of one fault that pydantic found."""
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "string_pattern_mismatch" and ":" in fault["ctx"]["pattern"]:
        return "must read module:Class, as in policies.ppo:PPO"
    return fault["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")


def _unknown_key(fault: ErrorDetails, model: type[BaseModel]) -> str | None:
    if fault["type"] != "extra_forbidden":
        return None
    key, known = str(fault["loc"][-1]), _known_keys(model, fault["loc"][:-1])
    return f"unknown key{close_match(key, known)} (known here: {', '.join(known)})"


def _written_path(loc: KeyPath, data: Any) -> Iterator[str | int]:
    """``loc`` without the names of union members, which pydantic puts between the keys."""
    for i, part in enumerate(loc):
        known = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if known:
            data = data[part]
        if known or i == len(loc) - 1:
            yield part


def _known_keys(model: type[BaseModel], loc: KeyPath) -> list[str]:
    """The keys of the section at ``loc``, as far as the annotations lead there."""
    models = [model]
    for part in loc:
        fields = [field for m in models for name, field in m.model_fields.items() if part in {name, field.alias}]
        models = (
            [m for field in fields for m in _models_in(field.annotation)]
            or [m for m in models if m.__name__ == part]
            or models
        )
    return [field.alias or name for m in models for name, field in m.model_fields.items()]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _coerced(raw: Any, parsed: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Texts and booleans that pydantic took for numbers: their path, the value given, the number made of it."""
    if isinstance(raw, dict) and isinstance(parsed, dict):
        for key in raw.keys() & parsed.keys():
            yield from _coerced(raw[key], parsed[key], (*path, key))
    elif isinstance(raw, list) and isinstance(parsed, list | tuple):
        for i, (given, made) in enumerate(zip(raw, parsed, strict=False)):
            yield from _coerced(given, made, (*path, i))
    elif isinstance(raw, str | bool) and isinstance(parsed, int | float) and not isinstance(parsed, bool):
        yield path, raw, parsed
