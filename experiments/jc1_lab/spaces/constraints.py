"""Constraints of a space: expressions such as `temperature > 0 or top_p == 1`, read once and evaluated for each point.

An expression may hold names of dimensions (`temperature`, `retrieval.k`, `engine.dtype`), numbers, texts, lists,
comparisons, `in`, `and`, `or`, `not` and `+ - * /`. There are no calls, no attributes of Python's objects and nothing
that could take long, so a space from elsewhere can be read safely. Knows nothing about what the names mean.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from simpleeval import DEFAULT_OPERATORS, EvalWithCompoundTypes, InvalidExpression

LONGEST = 500
"""Characters of an expression."""
_COMPARED = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
_COMPUTED = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Not)
_ALLOWED = (
    *_COMPARED,
    *_COMPUTED,
    *(ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, ast.Compare, ast.IfExp),
    *(ast.Name, ast.Attribute, ast.Constant, ast.List, ast.Tuple, ast.Load),
)
_OPERATORS = {node: DEFAULT_OPERATORS[node] for node in (*_COMPARED, *_COMPUTED)}


@dataclass(frozen=True)
class Expression:
    """A constraint as text. Build it with `Expression.parse`."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Read an expression. Raises `ValueError` telling what in `text` cannot be read."""
        if len(text) > LONGEST:
            raise ValueError(f"is longer than {LONGEST} characters")
        expression = cls(text)
        try:
            nodes = list(ast.walk(expression._tree))
        except (SyntaxError, RecursionError, MemoryError):
            raise ValueError("is no expression: write one such as 'temperature > 0 or top_p == 1'") from None
        for node in nodes:
            dotted = not isinstance(node, ast.Attribute) or isinstance(node.value, ast.Name)
            if not isinstance(node, _ALLOWED) or not dotted:
                raise ValueError(
                    f"holds {ast.unparse(node)!r}: use names of dimensions, numbers, texts, comparisons, in, and, or, "
                    "not, + - * /"
                )
        return expression

    @cached_property
    def _tree(self) -> ast.Expression:
        return ast.parse(self.text.strip(), mode="eval")

    @cached_property
    def names(self) -> frozenset[str]:
        """Return the dimensions that the expression mentions."""
        nodes = list(ast.walk(self._tree))
        dotted = [node for node in nodes if isinstance(node, ast.Attribute)]
        sections = {id(node.value) for node in dotted}
        return frozenset(
            {f"{node.value.id}.{node.attr}" for node in dotted if isinstance(node.value, ast.Name)}
            | {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in sections}
        )

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Tell whether it is true of `values`, by the names of dimensions.

        Raises `ValueError` where it has no answer.
        """
        names: dict[str, Any] = {}
        for name, value in values.items():
            section, _, field = name.rpartition(".")
            if section:
                names.setdefault(section, {})[field] = value
            else:
                names[name] = value
        # Only keys of the sections can be reached with a dot.
        fields = {field for group in names.values() if isinstance(group, dict) for field in group}
        evaluator = EvalWithCompoundTypes(operators=_OPERATORS, names=names, allowed_attrs={dict: fields})
        evaluator.functions = {}
        try:
            return bool(evaluator.eval(self.text, previously_parsed=self._tree.body))
        except (InvalidExpression, TypeError, ZeroDivisionError, OverflowError, RecursionError) as error:
            raise ValueError(f"has no answer ({type(error).__name__})") from None


Constraint = Expression | Callable[[dict[str, Any]], bool]
"""An expression, or a function of a point: of the values of dimensions, by name."""
