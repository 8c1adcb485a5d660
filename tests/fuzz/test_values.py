"""Tagged JSON and the report of a run: what the collector writes comes back, and nothing else does any harm."""

import contextlib
import json
import math
from collections import OrderedDict
from itertools import islice, product
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graders.harness.data import values
from graders.harness.data.values import Malformed
from graders.harness.ending import Ended, read_report
from graders.harness.run.kernel.encoding import Encoder
from graders.lora.measures import tables
from tests.fuzz.strategies import NASTY, assert_cheap, assert_plain, edited, encoded, json_values, linux_only, mutated


def assert_decoded_or_malformed(content: bytes) -> None:
    with contextlib.suppress(Malformed):
        value = values.decode(values.parse(content))
        assert_plain(value)
        repr(value)  # also of the longest integer, and at any depth


@given(encoded | json_values)
def test_decode(value: Any) -> None:
    """Any JSON is decoded to plain data or is malformed, and nothing else."""
    assert_decoded_or_malformed(json.dumps(value).encode())


@given(st.binary(max_size=100) | mutated([json.dumps({"mapping": [[4, {"tuple": [1.5, {"float": "nan"}]}]]}).encode()]))
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b"-" + b"9" * 4300)
def test_bytes(content: bytes) -> None:
    """Any bytes are JSON or malformed."""
    assert_decoded_or_malformed(content)


@given(st.text(st.characters()) | st.sampled_from(NASTY), st.integers(1, 300))
def test_one_line(text: str, limit: int) -> None:
    """A line is printable, can be written, and is no longer than asked."""
    line = values.one_line(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    line.encode()


def same(one: Any, other: Any) -> bool:
    """Equality in which every NaN is the same, and a bool is no int."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            any(same(k, key) and same(v, item) for key, item in other.items()) for k, v in one.items()
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, frozenset):
        return len(one) == len(other) and all(any(same(a, b) for b in other) for a in one)
    return one == other or one != one


integers = st.integers(-(2**64) + 1, 2**64 - 1) | st.integers(-9, 9)
flat = st.none() | st.booleans() | integers | st.text(max_size=5)
keys = flat | st.tuples(flat, flat)
data = st.recursive(
    st.none() | st.booleans() | integers | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=4)
    | st.frozensets(keys, max_size=4),
    max_leaves=12,
).filter(lambda value: _depth(value) <= 8)  # fmt: skip


def _depth(value: Any) -> int:
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(inner, list | tuple | frozenset) else 0


def through_json(value: Any) -> Any:
    return values.decode(values.parse(json.dumps(Encoder().encode(value), allow_nan=False).encode()))


@given(data)
def test_round_trip(value: Any) -> None:
    """What the collector writes down of plain data is read back as it was, to the type."""
    assert same(through_json(value), value)


finite = st.floats(allow_nan=False)


def near(one: Any, other: Any) -> bool:
    """Whether two keys are the same but for the sixth decimal."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(near, one, other))
    return not isinstance(one, tuple) and not isinstance(other, tuple) and (one == other or abs(one - other) <= 1e-6)


@given(st.dictionaries(finite | integers | st.tuples(finite, integers), integers, max_size=4))
@example({0.0: 0, 3.2e-202: 0})
def test_round_trip_of_keys(mapping: dict[Any, int]) -> None:
    """Keys that are numbers, or pairs of them, come back as they were but for the sixth decimal."""
    there = through_json(mapping)
    assert all(any(near(key, found) for found in there) for key in mapping)


@given(st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "bool"]), st.data())
def test_round_trip_of_arrays(dtype: str, data: st.DataObject) -> None:
    """An array comes back as nested lists of its numbers, whatever its shape, and says that it was one."""
    shape = tuple(data.draw(st.lists(st.integers(0, 3), max_size=5)))
    content = data.draw(st.binary(min_size=8 * math.prod(shape), max_size=8 * math.prod(shape)))
    wide = np.frombuffer(content, dtype=np.uint8)[: np.dtype(dtype).itemsize * math.prod(shape)]
    array = (wide % 2 == 1 if dtype == "bool" else wide.view(dtype)).reshape(shape)
    for value in (array, OrderedDict(x=array)):
        there = through_json(value)
        found = there if value is array else there["x"]
        if shape:
            assert found.type_name == "numpy.ndarray"
            found = list(found)
        assert same(found, array.tolist())


GOOD = {
    "ended": "cell_error", "cell": 3, "error": {"ename": "E", "evalue": "no", "line": "raise E"}, "seconds": 1.5,
    "peak_memory_bytes": 1, "device": "cpu",
}  # fmt: skip


@given(edited([GOOD]).map(lambda fields: json.dumps(fields).encode()) | mutated([json.dumps(GOOD).encode()]))
@example(json.dumps({**GOOD, "peak_memory_bytes": True}).encode())
@example(json.dumps({**GOOD, "seconds": False}).encode())
def test_report(content: bytes) -> None:
    """The report of a run has exactly the types and ranges it promises, or is malformed."""
    try:
        report = read_report(content)
    except Malformed:
        return
    assert report.ended in get_args(Ended)
    assert report.device in ("cpu", "cuda")
    assert report.cell is None or type(report.cell) is int
    assert type(report.seconds) is float
    assert 0 <= report.seconds < 1e9
    assert type(report.peak_memory_bytes) is int
    assert 0 <= report.peak_memory_bytes < 1 << 63
    assert report.reason.isprintable()
    assert len(report.reason) <= 1010
    if report.error:
        assert report.error.line.isprintable()


P = 2**61 - 1
"""A number's hash is what is left of it modulo this."""
SAME = [-1, -2, *(-2 - n * P for n in range(1, 4))]
"""Integers of 64 bits with one and the same hash."""
COLLIDING = {
    "integers": [n * P for n in range(100_000)],
    "flat tuples": [{"tuple": list(key)} for key in islice(product(SAME, repeat=8), 100_000)],
    "nested tuples": [{"tuple": [n, {"tuple": [m, -1]}]} for n in SAME for m in SAME] * 4000,
    "arrays": [{"items": ["array", None, list(key)]} for key in islice(product(SAME, repeat=7), 60_000)],
    "large floats": [float(2**m) * 2.0 ** (61 * n) for n in range(15) for m in range(53)] * 100,
    "long tuples": [{"tuple": [n] * 9} for n in range(1000)],
    "long texts": ["x" * 3000 + str(n) for n in range(1000)],
}


@linux_only
@pytest.mark.parametrize("keys", COLLIDING.values(), ids=COLLIDING)
@pytest.mark.parametrize("tag", ["set", "mapping"])
def test_colliding_keys(tag: str, keys: list[Any]) -> None:
    """Keys of one and the same hash, which make a mapping or a set quadratic, do not keep the grader busy."""
    content = json.dumps({tag: keys if tag == "set" else [[key, 0] for key in keys]}).encode()
    assert_cheap(lambda: assert_decoded_or_malformed(content), seconds=2.0)


@linux_only
@pytest.mark.parametrize("budgeted", [100, 900])
def test_as_many_colliding_keys_as_there_may_be(budgeted: int) -> None:
    """As many keys of one hash as one hand-in may have are read in less than a second."""
    keys = [{"tuple": list(key)} for key in islice(product(SAME, repeat=8), budgeted)]
    assert_cheap(lambda: values.decode({"mapping": [[key, 0] for key in keys]}), seconds=1.0)


@linux_only
def test_tables_of_colliding_keys() -> None:
    """Tables and series of as many rows as there may be, all called by keys of one hash, are read in a few seconds."""
    keys = [{"tuple": list(key)} for key in islice(product(SAME, repeat=8), values.MAX_COLUMNS)]
    table = {"table": ["t", None, keys, [[0] * len(keys)] * 3_000]}
    series = [{"items": ["s", keys, keys]} for _ in range(9)]
    assert_cheap(lambda: values.decode([table]), seconds=4.0)
    assert_cheap(lambda: [tables.as_mapping(one) for one in values.decode(series)], seconds=1.0)


@linux_only
@pytest.mark.parametrize("part", [b"[],", b"{},", b"0,", b'"",', b'"a",', b'",",'])
def test_many_small_parts(part: bytes) -> None:
    """A record of the largest size that is nothing but brackets takes next to no memory."""
    content = b"[" + part * (15_000_000 // len(part)) + b"0]"
    assert_cheap(lambda: assert_decoded_or_malformed(content))


@linux_only
@pytest.mark.parametrize("tail", [b'"' + b"\\" * 13_000_000, b'"\\' * 6_000_000], ids=["escapes", "quotes"])
def test_texts_without_an_end(tail: bytes) -> None:
    """A record of the largest size that never ends its texts is refused after one look at each of its bytes."""
    assert_cheap(lambda: assert_decoded_or_malformed(b"," * (values.MAX_PARTS + 1) + tail))


def test_commas_in_a_text() -> None:
    """A long text is read, whatever is in it."""
    text = ',[{"\\\\"' * 600_000
    assert values.decode(values.parse(json.dumps([text]).encode())) == [text]
