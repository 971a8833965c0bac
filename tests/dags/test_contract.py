"""What users and other parts rely on: Params, schedules, order of tasks."""

import ast
import inspect
import re
import sys

import pendulum
import pytest
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from retail_mlops.common.stacks import AUDIT, ORDER


def upstream(dag, task_id):
    return dag.get_task(task_id).upstream_task_ids


def test_params(bag):
    assert {dag_id: set(dag.params) for dag_id, dag in bag.dags.items()} == {
        "provision": {"environment", "dry_run"},
        "etl": {"accept_new_raw", "force"},
        "train": {"weeks", "hyperparameters", "force", "approval_timeout"},
        "deploy": {"model_package_arn", "image", "force", "rollback_to", "bake_seconds", "public_endpoint"},
        "scale_down": set(),
        "scale_up": set(),
        "teardown": {"confirm", "keep_data", "confirm_twice", "approval_timeout"},
    }


@pytest.mark.parametrize(
    ("dag_id", "name", "bad"),
    [
        ("provision", "dry_run", "perhaps"),
        ("provision", "environment", "prod"),
        ("train", "weeks", ["2006-07"]),
        ("train", "weeks", "200607"),
        ("train", "approval_timeout", 0),
        ("etl", "force", "yes"),
        ("deploy", "image", 7),
        ("teardown", "confirm", None),
        ("teardown", "keep_data", "yes"),
    ],
)
def test_param_refuses_a_bad_value(bag, dag_id, name, bad):
    with pytest.raises(ParamValidationError):
        bag.dags[dag_id].params.get_param(name).resolve(bad)


def test_train_runs_on_mondays_at_two(bag):
    assert bag.dags["train"].timetable.expression == "0 2 * * 1"


def test_a_fresh_airflow_does_not_make_up_for_the_monday_before(bag, monkeypatch):
    wednesday = pendulum.datetime(2026, 11, 25, 9, tz="UTC")
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: wednesday)
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags["train"]))

    first = dag.next_dagrun_info(last_automated_run_info=None)

    assert first.run_after.in_timezone("Asia/Ho_Chi_Minh") == pendulum.datetime(2026, 11, 30, 2, tz="Asia/Ho_Chi_Minh")


def test_etl_is_partitioned_and_ends_with_the_data(bag):
    dag = bag.dags["etl"]
    assert dag.timetable.partitioned
    assert dag.end_date.in_timezone("Asia/Ho_Chi_Minh").to_date_string() == "2008-07-06"


def test_deploy_is_woken_by_approved_models_only(bag):
    assert [asset.name for asset in bag.dags["deploy"].timetable.asset_condition.objects] == ["approved_model"]


def test_stacks_are_made_in_order(bag):
    dag = bag.dags["provision"]
    for before, after in [
        ("check_account", "create_github_login"),
        ("create_github_login", "network"),
        ("network", "lake"),
        ("lake", "registry"),
        ("registry", "identity"),
        ("identity", "cluster"),
        ("cluster", "observability"),
        ("observability", "budget"),
        ("stop_after_dry_run", "activate_cost_tag"),
        ("stop_after_dry_run", "bootstrap_cluster"),
        ("bootstrap_cluster", "prepare_smoke_test"),
        ("prepare_smoke_test", "smoke_test"),
    ]:
        assert before in upstream(dag, after)


def test_what_the_smoke_job_needs_is_removed_whatever_its_outcome(bag):
    dag = bag.dags["provision"]
    assert dag.get_task("clean_up_smoke_test").is_teardown
    assert upstream(dag, "clean_up_smoke_test") == {"prepare_smoke_test", "smoke_test"}
    assert dag.get_task("smoke_test").downstream_task_ids == {"clean_up_smoke_test"}  # its failure is the run's


def test_nothing_is_registered_before_the_gate(bag):
    assert "gate" in upstream(bag.dags["train"], "register")


def test_both_answers_reach_the_registry_and_only_then_is_deploy_woken(bag):
    train = bag.dags["train"]
    assert "approve" in upstream(train, "set_status")
    assert train.get_task("set_status").trigger_rule == "all_success"
    assert "set_status" in upstream(train, "announce")
    assert [outlet.name for outlet in train.get_task("announce").outlets] == ["approved_model"]


def test_a_green_roll_back_cannot_hide_a_failed_release(bag):
    deploy = bag.dags["deploy"]
    roll_back = deploy.get_task("roll_back")
    assert roll_back.trigger_rule == "one_failed"
    assert roll_back.upstream_task_ids == {
        "apply_canary", "wait_for_canary", "verify_canary", "shift_traffic", "bake", "promote",
        "wait_for_rollout", "verify",
    }  # fmt: skip
    assert deploy.get_task("remove_canary").downstream_task_ids == set()  # a leaf: upstream_failed fails the run
    assert "roll_back" not in ancestors(deploy, "remove_canary")


def test_no_user_meets_a_canary_before_it_is_verified_and_nothing_is_promoted_before_its_bake(bag):
    deploy = bag.dags["deploy"]
    assert {"apply_canary", "wait_for_canary", "verify_canary"} <= ancestors(deploy, "shift_traffic")
    assert upstream(deploy, "promote") == {"shift_traffic", "bake"}
    assert deploy.get_task("promote").trigger_rule == "none_failed_min_one_success"  # a bake may be left out
    assert upstream(deploy, "remove_canary") == {"record_release"}


def test_gold_is_emitted_by_publishing_only(bag):
    emitting = [task.task_id for task in bag.dags["etl"].tasks if task.outlets]
    assert emitting == ["publish"]


def test_only_the_cost_schedule_waits_for_the_user_to_enable_it(bag):
    assert {dag_id for dag_id, dag in bag.dags.items() if dag.is_paused_upon_creation} == {"scale_down", "scale_up"}


def test_nothing_goes_down_before_it_is_recorded_and_no_endpoint_comes_before_its_pods(bag):
    assert [task.task_id for task in bag.dags["scale_down"].topological_sort()] == [
        "record_state",
        "close_endpoint",
        "drain_nodes",
        "stop_nodes",
        "verify_stopped",
        "publish_savings",
    ]
    assert [task.task_id for task in bag.dags["scale_up"].topological_sort()] == [
        "acquire_lock",
        "start_nodes",
        "restore_workloads",
        "verify",
        "finish",
    ]


def test_record_is_removed_only_after_a_prediction_or_when_there_is_nothing_to_predict(bag):
    finish = bag.dags["scale_up"].get_task("finish")
    assert finish.upstream_task_ids == {"restore_workloads", "verify"}
    assert finish.trigger_rule == "none_failed_min_one_success"


def test_deploy_waits_before_it_does_anything(bag):
    waiting = bag.dags["deploy"].get_task("wait_until_scaled_up")
    assert waiting.upstream_task_ids == set()
    assert waiting.mode == "reschedule"
    assert upstream(bag.dags["deploy"], "update_endpoint") == {"wait_until_scaled_up"}
    assert upstream(bag.dags["deploy"], "choose_release") == {"update_endpoint"}


def ancestors(dag, task_id):
    found, waiting = set(), [task_id]
    while waiting:
        more = upstream(dag, waiting.pop()) - found
        found |= more
        waiting += more
    return found


def test_nothing_is_torn_down_before_the_plan_and_the_answer(bag):
    teardown = bag.dags["teardown"]
    before = {"plan_deletion", "choose_path", "confirm_deletion", "check_confirmation"}
    assert before < set(teardown.task_ids)
    for task_id in set(teardown.task_ids) - before:
        assert {"plan_deletion", "check_confirmation"} <= ancestors(teardown, task_id)
    assert upstream(teardown, "check_confirmation") == {"confirm_deletion", "choose_path"}


def test_teardown_removes_in_order(bag):
    teardown = bag.dags["teardown"]
    stacks = [f"delete_stack_{name}" for name in reversed((*ORDER, AUDIT))]
    order = [
        "stop_jobs",
        "remove_endpoint",
        "remove_workloads",
        "delete_cluster",
        "delete_images",
        "delete_model_packages",
        "delete_logs",
        *stacks,
        "delete_retained",
        "verify_deleted",
    ]
    for position, task_id in enumerate(order):
        assert set(order[:position]) <= ancestors(teardown, task_id)


def test_the_inventory_looks_after_a_failed_step_but_not_after_a_refusal(bag):
    teardown = bag.dags["teardown"]
    inventory = teardown.get_task("verify_deleted")
    assert inventory.trigger_rule == "all_done_min_one_success"
    assert upstream(teardown, "verify_deleted") == {task.task_id for task in teardown.tasks} - {
        "plan_deletion",
        "choose_path",
        "confirm_deletion",
        "verify_deleted",
    }
    assert [task.task_id for task in teardown.tasks if not task.downstream_task_ids] == ["verify_deleted"]


def test_keep_data_is_the_lakes_only(bag):
    kept = {
        task.component: task.keep_param
        for task in bag.dags["teardown"].tasks
        if task.task_id.startswith("delete_stack_")
    }
    assert {component for component, param in kept.items() if param == "keep_data"} == {"lake"}
    assert set(kept) == {*ORDER, AUDIT}


AS_THE_PERSON = {
    "provision": {"retail_mlops.provision.tasks", "retail_mlops.provision.smoke_test"},
    "teardown": {"retail_mlops.teardown.tasks"},
}
"""DAG → the only modules that its Python tasks are from."""


def connections(dag):
    """The connections that the DAG's operators are given."""
    return {task.aws_conn_id for task in dag.tasks if hasattr(task, "aws_conn_id")}


def modules(dag):
    """The modules that the functions of the DAG's Python tasks are from."""
    functions = [task.python_callable for task in dag.tasks if hasattr(task, "python_callable")]
    return {function.__module__ for function in functions}


def clients(module):
    """Source text of the connection with which a module's functions make each of their AWS clients; "" for none."""
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))) if isinstance(node, ast.Call)]
    made = [
        call
        for call in calls
        if re.search(r"(Hook|^Clients|is_scaled_down|is_stopped|smoke_buckets\.remove_all)$", ast.unparse(call.func))
    ]
    named = [[word.value for word in call.keywords if word.arg == "aws_conn_id"] or call.args[:1] for call in made]
    return [ast.unparse(given[0]) if given else "" for given in named]


@pytest.mark.parametrize("dag_id", AS_THE_PERSON)
def test_provision_and_teardown_run_as_the_person(bag, dag_id):
    """Their operators, and every client that their Python tasks make."""
    dag = bag.dags[dag_id]
    assert connections(dag) == {"aws_admin"}
    assert modules(dag) == AS_THE_PERSON[dag_id]
    made = [connection for module in AS_THE_PERSON[dag_id] for connection in clients(module)]
    assert len(made) > 5
    assert set(made) == {"ADMIN"}


def test_no_other_dag_runs_as_the_person(bag):
    others = [dag for dag_id, dag in bag.dags.items() if dag_id not in AS_THE_PERSON]
    assert set.union(*map(connections, others)) == {"aws_default"}
    found = {module for dag in others for module in modules(dag)}
    assert len(found) >= 4
    for module in found:
        assert not {"ADMIN", "'aws_admin'"} & set(clients(module)), module


def test_smoke_test_is_cleaned_up_also_after_a_failure(bag):
    clean_up = bag.dags["provision"].get_task("clean_up_smoke_test")
    assert clean_up.is_teardown
    assert clean_up.trigger_rule == "all_done_setup_success"
    assert bag.dags["provision"].get_task("prepare_smoke_test").is_setup
