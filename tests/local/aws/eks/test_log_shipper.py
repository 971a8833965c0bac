"""Log lines are cut into batches that CloudWatch accepts, whole and in order."""

import json

from local.aws.cloudwatch.log_limits import EVENT_BYTES
from local.aws.eks.log_shipper import cut


def test_log_lines_are_shipped_whole_and_in_order():
    messages, used = cut(b"one\ntwo\n\nthr", {"pod_name": "p"})
    assert [json.loads(message) for message in messages] == [
        {"log": "one", "kubernetes": {"pod_name": "p"}},
        {"log": "two", "kubernetes": {"pod_name": "p"}},
    ]
    assert used == len(b"one\ntwo\n\n")


def test_a_line_without_end_is_cut_where_an_event_would_be_too_large():
    messages, used = cut(b"x" * (EVENT_BYTES + 1), {})
    assert used == EVENT_BYTES
    assert len(messages) == 1


def test_no_batch_is_larger_than_cloudwatch_takes_and_nothing_is_lost():
    data = b"".join(b"line %d\n" % number for number in range(20000))
    lines, position = [], 0
    while position < len(data):
        messages, used = cut(data[position:], {"labels": {"a": "b" * 100}})
        assert 0 < len(messages) <= 10000
        assert sum(len(message) + 26 for message in messages) <= 2**20
        lines += [json.loads(message)["log"] for message in messages]
        position += used
    assert lines == [f"line {number}" for number in range(20000)]
