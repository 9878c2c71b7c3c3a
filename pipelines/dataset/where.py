"""Conditions over the columns of rows, as a person writes them: `answer_wer > 0.1 and language == "de"`.

The text is parsed by Python's own parser and never run: only the nodes below are known, and what they say becomes a
pyarrow expression. As in SQL, a comparison with a missing value is neither true nor false, and such a row is left out.
"""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from anytalk.synth.errors import SetupError, near_matches

LONGEST = 2000
"""Characters of a condition; a longer one is a mistake, and could exhaust the parser."""

SHOWN = 80
"""Characters of a condition that a message repeats."""

COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Where:
    """A condition that is known to fit a schema.

    Attributes:
        text: what the person wrote.
        columns: what it reads, so that other columns need not be.
        expression: for `pyarrow.Table.filter` and `pyarrow.dataset`.
    """

    text: str
    columns: tuple[str, ...]
    expression: pc.Expression

    def kept(self, table: pa.Table) -> pa.Table:
        """Rows of a table that meet the condition, in their order."""
        numbered = table.select(list(self.columns)).append_column(_ROW, pa.array(range(len(table)), pa.int64()))
        return table.take(numbered.filter(self.expression)[_ROW])


_ROW = "__row__"


def parse_where(text: str, schema: pa.Schema) -> Where:
    """Read a condition.

    Known are columns, numbers, strings, `True` and `False`; `== != < <= > >=`, also chained; `in` a list, and a string
    `in` a column of strings; `is None`; `and`, `or`, `not`; `+ - * /` and brackets.

    Args:
        text: of the condition.
        schema: of the rows; columns of sound, codes and features can only be compared with None.

    Raises:
        SetupError: it says something else, names a column that is not there, or compares what cannot be compared.
    """
    if len(text) > LONGEST:
        raise SetupError(f"the condition has {len(text):,} characters; at most {LONGEST:,} are read")
    reader = _Reader(text, schema)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        expression = reader.condition(tree)
        if not reader.columns:
            raise reader.error(tree, "names no column")
        # Types are checked here, before any row is read.
        schema.empty_table().select(sorted(reader.columns)).filter(expression)
    except SyntaxError as error:
        raise SetupError(f"{_short(text)} is not a condition, such as answer_wer == 0.1: {error.msg}") from None
    except (pa.ArrowException, OverflowError):
        kinds = ", ".join(f"{name} is {schema.field(name).type}" for name in sorted(reader.columns))
        raise SetupError(f"{_short(text)} compares what cannot be compared: {kinds}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise SetupError(f"{_short(text)} cannot be read as a condition: {error}") from None
    return Where(text, tuple(sorted(reader.columns)), expression)


def _short(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]} ...")


class _Reader:
    """Turns the nodes of one condition into a pyarrow expression."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self.text, self.schema = text, schema
        self.columns: set[str] = set()

    def error(self, node: ast.AST, problem: str) -> SetupError:
        return SetupError(f"{_short(self.text)}: {_short(ast.unparse(node))} {problem}")

    def condition(self, node: ast.expr) -> pc.Expression:
        """Read what is true or false."""
        match node:
            case ast.BoolOp(op=op, values=values):
                read = [self.condition(value) for value in values]
                join = operator.and_ if isinstance(op, ast.And) else operator.or_
                found = read[0]
                for each in read[1:]:
                    found = join(found, each)
                return found
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare(left=left, ops=ops, comparators=right):
                sides = [left, *right]
                found = self.comparison(node, sides[0], ops[0], sides[1])
                for number in range(1, len(ops)):
                    found = found & self.comparison(node, sides[number], ops[number], sides[number + 1])
                return found
            case ast.Name() if pa.types.is_boolean(self.kind(node)):
                return self.value(node, None)
        raise self.error(node, "is no comparison, such as answer_wer > 0.1")

    def comparison(self, whole: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr) -> pc.Expression:
        if isinstance(op, ast.Is | ast.IsNot):
            if not (isinstance(left, ast.Name) and isinstance(right, ast.Constant) and right.value is None):
                raise self.error(whole, "uses 'is' for something else than COLUMN is None")
            self.kind(left)
            missing = pc.field(left.id).is_null()
            return missing if isinstance(op, ast.Is) else ~missing
        if isinstance(op, ast.In | ast.NotIn):
            found = self.member(whole, left, right)
            return found if isinstance(op, ast.In) else ~found
        if any(isinstance(side, ast.Constant) and side.value is None for side in (left, right)):
            raise self.error(whole, "compares with None; write COLUMN is None")
        kind = self.common_kind(left, right)
        return COMPARISONS[type(op)](self.value(left, kind), self.value(right, kind))

    def member(self, whole: ast.expr, left: ast.expr, right: ast.expr) -> pc.Expression:
        """Read `COLUMN in ["a", "b"]` and `"text" in COLUMN`."""
        if isinstance(left, ast.Name) and isinstance(right, ast.List | ast.Tuple | ast.Set) and right.elts:
            kind = self.kind(left)
            options = [self.literal(one, kind) for one in right.elts]
            # Missing is not in any list, nor out of it.
            return pc.if_else(
                pc.field(left.id).is_valid(), pc.field(left.id).isin(options), pa.scalar(None, pa.bool_())
            )
        if isinstance(left, ast.Constant) and isinstance(left.value, str) and isinstance(right, ast.Name):
            self.kind(right)
            return pc.match_substring(pc.field(right.id), left.value, ignore_case=True)
        raise self.error(whole, "uses 'in' for something else than COLUMN in [...] or \"text\" in COLUMN")

    def common_kind(self, left: ast.expr, right: ast.expr) -> pa.DataType | None:
        """Type of the column that a number is compared with, so that 0.1 means what a float32 column holds of it."""
        names = [side for side in (left, right) if isinstance(side, ast.Name)]
        return self.kind(names[0]) if len(names) == 1 else None

    def kind(self, node: ast.Name) -> pa.DataType:
        if node.id not in self.schema.names:
            raise SetupError(
                f"{_short(self.text)}: there is no column {node.id!r}{near_matches(node.id, self.schema.names)}"
            )
        self.columns.add(node.id)
        return self.schema.field(node.id).type

    def value(self, node: ast.expr, kind: pa.DataType | None) -> pc.Expression:
        """Read what is compared."""
        match node:
            case ast.Name():
                self.kind(node)
                return pc.field(node.id)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
                kind = self.common_kind(left, right)
                found: pc.Expression = ARITHMETIC[type(op)](*(self._number(side, kind) for side in (left, right)))
                return found
            case ast.UnaryOp(op=ast.USub(), operand=ast.Name() as operand):
                return pc.negate(self.value(operand, kind))
        return pc.scalar(self.literal(node, kind))

    def _number(self, node: ast.expr, kind: pa.DataType | None) -> pc.Expression:
        # Whole numbers would be divided as whole numbers.
        return self.value(node, kind).cast(pa.float64(), safe=False)

    def literal(self, node: ast.expr, kind: pa.DataType | None) -> pa.Scalar:
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            node, sign = node.operand, -1
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, bool) or (isinstance(value, str) and sign == 1):
            return pa.scalar(value)
        if isinstance(value, int | float) and abs(value) < 2**64:
            # As the column stores it: 0.1 of a float32 column is not 0.1, and a seed is no int64.
            exact = kind is not None and (
                pa.types.is_floating(kind) or (kind == pa.uint64() and isinstance(value, int))
            )
            return pa.scalar(sign * value, kind if exact else None)
        raise self.error(node, "is neither a column, a number nor a string in quotes")
