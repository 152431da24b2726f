"""Who works at Clairval, by role, and which access groups a role is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from workshop_utils.corpus.documents import EVERYONE, CorpusError, data_dir


@dataclass(frozen=True)
class Role:
    """A kind of reader. Nobody has a name.

    Attributes:
        id: short name, such as ``people-partner``.
        groups: its access groups, ``everyone`` among them.
    """

    id: str
    title: str
    site: str
    groups: tuple[str, ...]


def load_groups(path: Path | None = None) -> dict[str, str]:
    """Access group -> who is in it.

    Raises:
        CorpusError: the file breaks the schema.
    """
    return _read(path)[0]


def load_roles(path: Path | None = None) -> list[Role]:
    """Every role, in the order of the file; the first is an ordinary employee.

    Raises:
        CorpusError: the file breaks the schema, or a role is in a group that does not exist.
    """
    return _read(path)[1]


def _read(path: Path | None) -> tuple[dict[str, str], list[Role]]:
    file = path or data_dir() / "people.yaml"
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        groups = {str(key): str(text) for key, text in content["groups"].items()}
        roles = [Role(entry["id"], entry["title"], entry["site"], tuple(entry["groups"])) for entry in content["roles"]]
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise CorpusError(f"{file.name} is no list of groups and roles ({error!r})") from error
    for role in roles:
        unknown = set(role.groups) - set(groups)
        if unknown or EVERYONE not in role.groups:
            raise CorpusError(f"{file.name}, {role.id}: groups must be known ones with {EVERYONE!r} among them")
    return groups, roles
