"""Read a person's YAML file: safely, small, without duplicate keys, and with every number as it looks.

YAML 1.1 reads 010 as 8 and 1:30 as 90, YAML 1.2 as 10 and as a text: such a number is refused. A date is a text.
"""

import math
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tune_app.errors import TuneAppError

MOST_BYTES = 1_000_000
LONGEST_NUMBER = 100

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FRACTION = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*|(?=[eE])))([eE][-+]?[0-9]+)?")
NUMBER = re.compile(
    r"[-+]?(0[bB][01_]+|0[oO][0-9_]+|0[xX][0-9a-fA-F_]+|\.(inf|Inf|INF|nan|NaN|NAN)"
    r"|\.?[0-9][0-9_]*(:[0-9_]+)*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?)\Z"
)
"""A number in any way that some reader of YAML takes for one."""
NUMBER_TAG = "!number"
INT_TAG, FLOAT_TAG, DATE_TAG = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


class NotPlain(yaml.constructor.ConstructorError):
    """A number that is no plain decimal."""


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

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Refuse what is no plain decimal, and what nobody means: Python cannot even print thousands of digits."""
        text = str(self.construct_scalar(node))
        if len(text) > LONGEST_NUMBER:
            raise yaml.constructor.ConstructorError(None, None, f"a number of {len(text)} digits", node.start_mark)
        if INTEGER.fullmatch(text):
            return int(text)
        if FRACTION.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        if text.lower().lstrip("+-") in (".inf", ".nan"):  # who knows the key says what is allowed
            return float(text.replace(".", ""))
        allowed = "a number such as 32, 0.5 or 1e-3 (no leading 0, _ or :), a time such as 90s, a text in quotes"
        raise NotPlain(None, None, f"is {text}, allowed: {allowed}", node.start_mark)


class Dumper(yaml.SafeDumper):
    """YAML's safe dumper, which writes what `Loader` reads."""

    def ignore_aliases(self, _data: object) -> bool:
        """A list that occurs twice is written twice."""
        return True


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT_TAG, FLOAT_TAG, DATE_TAG)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for tag in (NUMBER_TAG, INT_TAG, FLOAT_TAG):
    Loader.add_constructor(tag, Loader.construct_number)
for either in (Loader, Dumper):  # a text like a number is written in quotes
    either.add_implicit_resolver(NUMBER_TAG, NUMBER, list("-+.0123456789"))


def as_yaml(content: Mapping[str, object]) -> str:
    """YAML that `read_yaml` reads as the same values."""
    return yaml.dump(content, Dumper=Dumper, sort_keys=False)


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
        kind = "" if isinstance(error, NotPlain) else "not valid YAML: "
        raise TuneAppError(f"{where}: {kind}{problem[:200]}") from None
    except UnicodeDecodeError as error:
        raise TuneAppError(f"{path}: not a text file in UTF-8: {error.reason}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem = " ".join(str(error).split())
        raise TuneAppError(f"{path}: not valid YAML: {problem[:200]}") from None
    except RecursionError:
        raise TuneAppError(f"{path}: nested too deeply") from None
