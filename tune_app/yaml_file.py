"""Read a person's YAML file: safely, small, without duplicate keys, and with 1e-3 as the number it looks like."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tune_app.errors import TuneAppError

MOST_BYTES = 1_000_000
LONGEST_NUMBER = 100


class Loader(yaml.SafeLoader):
    """YAML's safe loader, stricter where a slip would pass unnoticed."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases: a few of them can stand for billions of values."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that occurs twice: YAML would silently take the last one."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} occurs twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Refuse numbers that nobody means: Python cannot even print one of thousands of digits."""
        if len(node.value) > LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(
                None, None, f"a number of {len(node.value)} digits", node.start_mark
            )
        return super().construct_yaml_int(node)


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_yaml_int)
# YAML 1.1 demands a dot and a sign in a float; people write 1e-3.
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; `TuneAppError` names file, line and what is wrong."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise TuneAppError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(content) > MOST_BYTES:
        raise TuneAppError(f"{path}: larger than 1 MB, allowed: a YAML file of up to 1 MB")
    try:
        return yaml.load(content.decode("utf-8"), Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = " ".join(str(error.problem or error.context).split())
        raise TuneAppError(f"{where}: not valid YAML: {problem[:200]}") from None
    except UnicodeDecodeError as error:
        raise TuneAppError(f"{path}: not a text file in UTF-8: {error.reason}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = " ".join(str(error).split())
        raise TuneAppError(f"{path}: not valid YAML: {problem[:200]}") from None
    except RecursionError:
        raise TuneAppError(f"{path}: nested too deeply") from None
