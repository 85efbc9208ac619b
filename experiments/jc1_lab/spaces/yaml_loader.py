"""Files of spaces: YAML as Python's values, read so that no file can hang or break what reads it.

Knows YAML and its traps. Knows nothing about what a space is.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from jc1.errors import InvalidSpace

MAX_CHARACTERS = 1_000_000
"""Of a file: a space has a few dozen lines, and system prompts."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc] # yaml has no types
    """YAML without aliases: a few lines of them can stand for millions of values."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="a space may hold no aliases: write the value out", problem_mark=mark)
        return super().compose_node(parent, index)


def read(path: str | Path) -> object:
    """Read the file. Raises `InvalidSpace` naming the file and, where there is one, the line."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
        if len(text) > MAX_CHARACTERS:
            raise InvalidSpace(f"{path} has more than {MAX_CHARACTERS:,} characters: give a smaller file.")
        return _Loader(text).get_single_data()
    except OSError as error:
        raise InvalidSpace(f"{path} cannot be read ({error.strerror}): check the path.") from None
    except UnicodeDecodeError:
        raise InvalidSpace(f"{path} is not UTF-8 text: save it as such.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}: {getattr(error, 'problem', None)}" if mark else ""
        raise InvalidSpace(f"{path} is not YAML{where}.") from None
    except RecursionError:
        raise InvalidSpace(f"{path} nests lists or mappings too deeply: a space needs a few levels.") from None
    except (ValueError, LookupError, AttributeError):  # PyYAML's own, of dates, numbers and tags
        raise InvalidSpace(
            f"{path} holds a date, a number or a tag that YAML cannot read: put such values in quotes."
        ) from None
