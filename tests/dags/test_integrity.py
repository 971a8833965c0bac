"""The DAGs are all there, parse without error and survive serialization."""

import socket

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
from airflow_env import ROOT

IDS = {"provision", "etl", "train", "deploy", "scale_down", "scale_up", "teardown"}


def test_exactly_these_dags_exist(bag):
    assert bag.import_errors == {}
    assert set(bag.dags) == IDS


@pytest.mark.parametrize("dag_id", sorted(IDS))
def test_dag_survives_serialization(bag, dag_id):
    dag = bag.dags[dag_id]

    again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))

    assert set(again.task_ids) == set(dag.task_ids)


def test_two_parses_give_the_same_dag(bag):
    other = DagBag(dag_folder=str(ROOT / "dags"))

    for dag_id, dag in bag.dags.items():
        assert DagSerialization.serialize_dag(dag) == DagSerialization.serialize_dag(other.dags[dag_id])


def test_parsing_asks_no_network(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("a DAG file opened a connection while it was read")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    assert DagBag(dag_folder=str(ROOT / "dags")).import_errors == {}
