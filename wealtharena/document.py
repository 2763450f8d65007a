"""An experiment file as it was written: its values, and where each of them came from.

Reads YAML with the line of every key, refuses what YAML would let pass (a key given twice), and applies
``--set a.b.c=value``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml

from wealtharena.errors import UserError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """The values of an experiment file and their origins.

    Attributes:
        name: The file, as the user gave it.
        data: Nested dicts, lists and scalars.
        origins: Path of a key -> where it was given: ``line 12`` or ``--set a.b=3``.
    """

    name: str
    data: dict[str, Any]
    origins: dict[KeyPath, str]

    def origin(self, path: KeyPath) -> str:
        """Where the value at ``path`` was given, or else the nearest section above it."""
        for end in range(len(path), 0, -1):
            if (found := self.origins.get(path[:end])) is not None:
                return found if found.startswith("--set") else f"{self.name}, {found}"
        return self.name


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but ``3e-4`` is a number, as it is in YAML 1.2 and everywhere else."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_document(config: str, overrides: Iterable[str] = ()) -> Document:
    """Reads an experiment file and applies ``--set`` overrides.

    Args:
        config: A path, or ``quickstart`` for the experiment that comes with the package.
        overrides: ``a.b.c=value``, the value in YAML.

    Raises:
        UserError: The file is missing, empty, not text, not YAML, or gives a key twice; an override cannot be applied.
    """
    document = _parse(config, _read_text(config))
    for override in overrides:
        _apply(override, document)
    return document


def close_match(word: str, options: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    known = list(options)
    matches = difflib.get_close_matches(word, known, n=1) or [near for near in known if near in word or word in near]
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _read_text(config: str) -> str:
    path = Path(config)
    if config == "quickstart" and not path.exists():
        with as_file(files("wealtharena") / "quickstart.yaml") as packaged:
            return packaged.read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = close_match(path.name, (p.name for p in path.parent.glob("*.y*ml")))
        raise UserError(f"{config}: there is no such experiment file{hint}") from None
    except UnicodeDecodeError:
        raise UserError(f"{config}: is not a text file; an experiment file is YAML in UTF-8") from None
    except OSError as error:
        raise UserError(f"{config}: cannot be read: {error.strerror}") from None


def _parse(name: str, text: str) -> Document:
    origins: dict[KeyPath, str] = {}
    try:
        data = _Builder(text, origins).build()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{name}{line}: is not valid YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise UserError(f"{name}: is not a text file; an experiment file is YAML in UTF-8") from None
    if data is None:
        raise UserError(f"{name}: is empty; an experiment file has at least name, environment, members, stop")
    if not isinstance(data, dict):
        raise UserError(f"{name}: must hold sections (name, environment, members, stop, ...), not {shown(data)}")
    return Document(name, data, origins)


class _Builder:
    """Builds plain values from YAML nodes, writing down the line of every key."""

    def __init__(self, text: str, origins: dict[KeyPath, str]) -> None:
        self._loader = _Loader(text)
        self._origins = origins

    def build(self) -> Any:
        try:
            node = self._loader.get_single_node()
            return None if node is None else self._value(node, ())
        except RecursionError:
            raise yaml.MarkedYAMLError(problem="an alias refers to itself") from None
        finally:
            self._loader.dispose()

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(child, (*path, i)) for i, child in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except (KeyError, TypeError, AttributeError):  # what PyYAML raises for '!!bool 3' and the like
            problem = f"{node.value!r} does not fit its tag {node.tag}; leave the tag out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None
        except ValueError as error:
            raise yaml.MarkedYAMLError(problem=f"{node.value!r}: {error}", problem_mark=node.start_mark) from None

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, mark = str(key_node.value), key_node.start_mark
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be one word", problem_mark=mark)
            if key in lines:
                problem = f"key {key!r} is given twice, first on line {lines[key]}"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            lines[key] = mark.line + 1
            self._origins[(*path, key)] = f"line {lines[key]}"
            yield key, self._value(value_node, (*path, key))


def _apply(override: str, document: Document) -> None:
    """Writes one ``a.b.c=value`` into the document."""
    dotted, equals, text = override.partition("=")
    path = tuple(dotted.strip().split("."))
    if not equals or not all(path):
        raise UserError(f"--set {override}: must read path.to.key=value, as in --set stop.iterations=5")
    try:
        value = _Builder(text, {}).build()
    except yaml.YAMLError:
        raise UserError(f"--set {override}: the value {text!r} is not valid YAML") from None
    _put(document, path, value, given=f"--set {override}", origin=f"--set {override}")


def with_value(document: Document, dotted: str, value: Any, *, given: str, origin: str) -> Document:
    """A copy with another value at a path ``a.b.c``, made where the file has none.

    Args:
        document: Stays as it is.
        dotted: The path.
        value: What stands there then.
        given: Where the path was given, to begin a message with.
        origin: The value's origin then, as in ``Document.origins``.

    Raises:
        UserError: What is above it in the file is no section.
    """
    changed = Document(document.name, deepcopy(document.data), dict(document.origins))
    _put(changed, tuple(dotted.split(".")), deepcopy(value), given=given, origin=origin)
    return changed


def _put(document: Document, path: tuple[str, ...], value: Any, *, given: str, origin: str) -> None:
    section = _section(document.data, path[:-1], given)
    section[path[-1]] = value
    for known in [known for known in document.origins if known[: len(path)] == path]:
        del document.origins[known]
    document.origins[path] = origin


def _section(data: dict[str, Any], path: tuple[str, ...], given: str) -> dict[str, Any]:
    """The mapping at ``path``, made where the file has none."""
    for depth, key in enumerate(path, start=1):
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
        if not isinstance(data, dict):
            raise UserError(f"{given}: {'.'.join(path[:depth])} is {shown(data)}, not a section with keys")
    return data


def shown(value: Any) -> str:
    """A value as it is quoted in a message, cut to a readable length."""
    text = str(value) if hasattr(value, "isoformat") else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
