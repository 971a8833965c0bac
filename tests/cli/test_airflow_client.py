"""How the client words what Airflow says. Its calls are tested against a real Airflow in tests/cli/test_commands.py."""

import json

import pytest

from cli.airflow_client import Airflow, AirflowError, _log_line, _message
from local.stack import config


def test_airflows_own_words_are_quoted():
    assert _message(b'{"detail": "Dag with dag_id: \'x\' not found"}') == "Dag with dag_id: 'x' not found"


def test_each_wrong_field_is_named():
    detail = [{"loc": ["body", "conf"], "msg": "a dictionary is expected"}, {"loc": ["body"], "msg": "too many"}]
    assert _message(json.dumps({"detail": detail}).encode()) == "body.conf: a dictionary is expected; body: too many"


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b'"text"', b"", b"\xff"])
def test_an_answer_that_is_not_airflows_is_shown_as_it_is(body):
    assert _message(body) == body.decode(errors="replace")


def test_nobody_at_the_port_is_said_with_the_address(tmp_path):
    stack = config.LocalStack(tmp_path, airflow=config.any_free_port(), aws=2, endpoint=3, kube=4, block=0)
    with pytest.raises(AirflowError, match=f"does not answer at {stack.airflow_url}"):
        Airflow(stack).health()


def test_a_log_line_shows_the_exception_below_it():
    frame = {"filename": "dags/etl.py", "lineno": 7, "name": "clean"}
    error = {"exc_type": "RowsError", "exc_value": "row 3", "frames": [frame]}
    line = {"timestamp": "T", "level": "error", "event": "Task failed", "error_detail": [error]}
    assert _log_line(line) == "T error Task failed\n  dags/etl.py:7 in clean\n  RowsError: row 3"
