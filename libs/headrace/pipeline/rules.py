"""The rules of a pipeline, checked on columns: which rows a contract turns down, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.arrow import arrow_schema, as_type, filled
from headrace.contracts.shape import MICROS
from headrace.errors import ConfigurationError
from headrace.pipeline.definition import BY_BLOCK, SEVERITIES, Definition, Rule, Severity
from headrace.pipeline.durations import show
from headrace.pipeline.expressions import TRUTH, compile_sql, finite, read_by
from headrace.pipeline.labels import compile_label
from headrace.pipeline.schemas import raw_schema

Rows = npt.NDArray[np.int64]
Test = Callable[[pa.RecordBatch], pa.BooleanArray]
Now = int | None  # the time of the tick before a batch, in microseconds UTC; None where there is none
Judge = Callable[[pa.RecordBatch, Now], pa.BooleanArray]
"""True for a good row. A null passes (say ``required`` to forbid it), as it does in an SQL CHECK."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The rows of a batch that broke one rule; ``actual`` tells what each of them held."""

    rows: Rows
    rule: str
    severity: Severity
    path: str
    expected: str
    actual: list[str]
    hint: str


@dataclass(frozen=True, slots=True)
class _Check:
    rule: Rule
    test: Judge
    expected: str
    value: Callable[[pa.RecordBatch], pa.Array]


class Checker(Protocol):
    """Batches of one record type in, violations out, in the order of the rules."""

    def __call__(self, batch: pa.RecordBatch, now: Now = None) -> list[Violation]:
        """Return what a batch breaks; without ``now`` no rule about freshness is asked."""


def checker(definition: Definition, record: str) -> Checker:
    """Return the check of one record type.

    A row is turned down by the first ``reject`` rule it breaks and then counts for no other. The label record
    has one rule more: its label must be there and be one of the classes.
    """
    schema = arrow_schema(raw_schema(definition, record))
    rules = [rule for rule in definition.rules if rule.record == record]
    checks = [
        _compiled(rule, schema) for rule in rules if rule.kind not in _ELSEWHERE or _is_unsound(rule, schema)
    ]
    if record == definition.label.record:
        checks.append(_label_check(definition, schema))
    checks.sort(key=lambda check: SEVERITIES.index(check.rule.severity))
    return lambda batch, now=None: _run(checks, batch, now)


_ELSEWHERE = BY_BLOCK | {"unique"}


def _run(checks: list[_Check], batch: pa.RecordBatch, now: Now) -> list[Violation]:
    found: list[Violation] = []
    turned_down: npt.NDArray[np.bool_] | None = None
    for check in checks:
        good = check.test(batch, now)
        if good.true_count + good.null_count == len(good):
            continue
        bad = ~filled(good, value=True).to_numpy(zero_copy_only=False)
        if turned_down is not None:
            bad &= ~turned_down
        if check.rule.severity == "reject":
            turned_down = bad if turned_down is None else turned_down | bad
        if bad.any():
            found.append(_violation(check, batch, np.flatnonzero(bad)))
    return found


def _violation(check: _Check, batch: pa.RecordBatch, rows: Rows) -> Violation:
    values = check.value(batch).take(pa.array(rows)).to_pylist()
    actual = ["null" if value is None else str(value) for value in values]
    rule = check.rule
    return Violation(rows, rule.name, rule.severity, rule.column, check.expected, actual, rule.hint)


def _compiled(rule: Rule, schema: pa.Schema) -> _Check:
    if schema.get_field_index(rule.column) < 0:
        raise ConfigurationError(
            f"rule {rule.name}: {rule.record} has no column {rule.column}",
            next_command=f"the columns are {', '.join(schema.names)}",
        )
    if rule.kind == "freshness":
        judge, expected = _freshness(rule, schema)
    else:
        test, expected = _KINDS[rule.kind](rule, schema)
        judge = _timeless(test)
    return _Check(rule, judge, expected, lambda batch: batch.column(rule.column))


def _is_unsound(rule: Rule, schema: pa.Schema) -> bool:
    """Refuse a rule about more than one record that cannot work; see :mod:`headrace.pipeline.unique`, ``blocks``."""
    if rule.kind == "unique" and rule.within is None:
        raise ConfigurationError(f"rule {rule.name} has no window", next_command="say `within: 1h`")
    return bool(schema.get_field_index(rule.column) < 0)


def _timeless(test: Test) -> Judge:
    return lambda batch, _: test(batch)


def _freshness(rule: Rule, schema: pa.Schema) -> tuple[Judge, str]:
    """Return the check of a time against the tick before: the one instant that all replicas and replays agree on."""
    if not pa.types.is_timestamp(schema.field(rule.column).type) or rule.within is rule.ahead is None:
        raise ConfigurationError(
            f"rule {rule.name} needs a column of times, and `within`, `ahead` or both",
            next_command="say `within: 3h`",
        )
    least = -(1 << 62) if rule.within is None else -rule.within
    most = (1 << 62) if rule.ahead is None else rule.ahead

    def judge(batch: pa.RecordBatch, now: Now) -> pa.BooleanArray:
        column = batch.column(rule.column)
        if now is None:
            return pa.nulls(len(column), pa.bool_())
        times = as_type(as_type(column, MICROS), pa.int64())
        return pc.and_(pc.greater_equal(times, now + least), pc.less_equal(times, now + most))

    bounds = [("behind", rule.within), ("ahead of", rule.ahead)]
    told = " and ".join(f"{show(bound)} {side}" for side, bound in bounds if bound is not None)
    return judge, f"a time at most {told} the tick before the event"


def _required(rule: Rule, _: pa.Schema) -> tuple[Test, str]:
    return lambda batch: finite(batch.column(rule.column)).is_valid(), "a value"


def _range(rule: Rule, schema: pa.Schema) -> tuple[Test, str]:
    kind = schema.field(rule.column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ConfigurationError(
            f"rule {rule.name}: a range needs a number, {rule.column} is {kind}",
            next_command="use an expression",
        )
    if rule.minimum is None and rule.maximum is None:
        raise ConfigurationError(
            f"rule {rule.name} has no bounds", next_command="say minimum, maximum or both"
        )
    low = -np.inf if rule.minimum is None else rule.minimum
    high = np.inf if rule.maximum is None else rule.maximum
    least, most = pa.scalar(low, pa.float64()), pa.scalar(high, pa.float64())

    def test(batch: pa.RecordBatch) -> pa.BooleanArray:
        column = batch.column(rule.column)
        return pc.and_(pc.greater_equal(column, least), pc.less_equal(column, most))

    return test, _bounds(rule)


def _bounds(rule: Rule) -> str:
    parts = [("at least", rule.minimum), ("at most", rule.maximum)]
    return " and ".join(f"{word} {bound:g}" for word, bound in parts if bound is not None)


def _enum(rule: Rule, schema: pa.Schema) -> tuple[Test, str]:
    if not rule.values:
        raise ConfigurationError(f"rule {rule.name} has no values", next_command="say `values: [...]`")
    allowed = pa.array([*rule.values, None], pa.string()).cast(schema.field(rule.column).type)
    return lambda batch: pc.is_in(
        batch.column(rule.column), value_set=allowed
    ), f"one of {', '.join(rule.values)}"


def _reference(rule: Rule, schema: pa.Schema) -> tuple[Test, str]:
    test, _ = _enum(rule, schema)
    return test, f"one of the {len(rule.values or ())} values of the reference set"


def _regex(rule: Rule, schema: pa.Schema) -> tuple[Test, str]:
    if rule.pattern is None or schema.field(rule.column).type != pa.string():
        raise ConfigurationError(
            f"rule {rule.name} needs a `pattern` and a text column", next_command="say `pattern: ...`"
        )
    options = pc.MatchSubstringOptions(rule.pattern)
    try:
        pc.match_substring_regex(pa.array([], pa.string()), options=options)
    except pa.ArrowInvalid as error:
        raise ConfigurationError(
            f"rule {rule.name}: the pattern is not RE2", why=str(error), next_command="correct it"
        ) from error
    return lambda batch: pc.match_substring_regex(
        batch.column(rule.column), options=options
    ), f"text like {rule.pattern}"


def _expression(rule: Rule, schema: pa.Schema) -> tuple[Test, str]:
    if rule.sql is None:
        raise ConfigurationError(
            f"rule {rule.name} has no sql", next_command="say `sql: ...`, true for a good row"
        )
    apply = compile_sql({rule.name: (rule.sql, TRUTH)}, schema)
    return lambda batch: apply(batch).column(0), rule.sql


_KINDS = {
    "required": _required,
    "range": _range,
    "enum": _enum,
    "reference": _reference,
    "regex": _regex,
    "expression": _expression,
}


def _label_check(definition: Definition, schema: pa.Schema) -> _Check:
    """Return the rule that every label record obeys without being asked.

    A label made of a number that is not finite is none: its expression would take the number for missing, and answer.
    """
    label, classes = compile_label(definition), definition.label.classes
    hint = f"The label is {definition.label.sql}."
    rule = Rule(name="label", record=definition.label.record, column="label", kind="required", hint=hint)
    if classes is None:
        return _Check(
            rule,
            _timeless(lambda batch: pc.is_finite(label(batch)).fill_null(fill_value=False)),
            "a number",
            label,
        )
    known = pa.array(classes, pa.string())
    numbers = [
        name
        for name in read_by(definition.label.sql, schema)
        if pa.types.is_floating(schema.field(name).type)
    ]

    def test(batch: pa.RecordBatch) -> pa.BooleanArray:
        good = pc.is_in(label(batch), value_set=known)
        for name in numbers:
            good = pc.and_(good, pc.is_finite(batch.column(name)).fill_null(fill_value=True))
        return good

    return _Check(rule, _timeless(test), f"one of {', '.join(classes)}, from finite numbers", label)
