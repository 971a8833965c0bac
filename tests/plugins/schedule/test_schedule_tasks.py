"""Who may change the environment: runs in any order wait, take over, skip or refuse. S3 and Airflow are stand-ins."""

import contextlib
import datetime as dt
import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include import lake
from include.hours import ZONE
from include.settings import settings
from retail_mlops.common import environment_state
from retail_mlops.common.errors import RetailError
from retail_mlops.common.node_groups import NodeGroup
from retail_mlops.common.scale_record import Phase, Record, State
from retail_mlops.schedule import lock, tasks

STATE = State(node_groups=(NodeGroup(name="general", minimum=0, desired=2, maximum=10),))


class Lake:
    """A bucket with conditional writes; `meanwhile` happens once, just before the next of them."""

    def __init__(self):
        self.documents, self.tags, self.meanwhile = {}, {}, None

    def __call__(self):
        return self

    def document(self, key):
        return self.documents.get(key)

    def document_with_tag(self, key):
        return self.documents.get(key), self.tags.get(key)

    def put_document(self, key, document):
        self.documents[key] = json.loads(json.dumps(document))
        self.tags[key] = f"v{len(self.tags)}-{hash(json.dumps(document))}"

    def replace_document(self, key, document, tag):
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        if self.tags.get(key) != tag:
            return False
        self.put_document(key, document)
        return True

    def remove(self, keys):
        for key in keys:
            self.documents.pop(key, None)
            self.tags.pop(key, None)


class Run:
    """The task instance of a run, and which runs are alive."""

    def __init__(self, owner, alive=()):
        self.dag_id, _, self.run_id = owner.partition("/")
        self.alive, self.asked, self.deploys = set(alive), 0, {}

    def get_dr_count(self, dag_id, run_ids, states):
        assert states == ["running", "queued"]
        self.asked += 1
        return int(f"{dag_id}/{run_ids[0]}" in self.alive)

    def get_task_states(self, dag_id):
        assert dag_id == "deploy"
        return self.deploys


def context(ti, run_type="manual", run_after=None):
    return {"ti": ti, "dag_run": SimpleNamespace(run_type=run_type, run_after=run_after)}


@pytest.fixture
def bucket(monkeypatch):
    made = Lake()
    for module in (environment_state, lock, tasks):
        monkeypatch.setattr(module, "LakeHook", made)
    return made


@pytest.fixture
def sleeping(monkeypatch):
    """What happens while a task waits, one a nap; a nap too many ends the test."""
    naps = []
    monkeypatch.setattr("retail_mlops.common.polling.time.sleep", lambda _seconds: naps.pop(0)())
    return naps


def keep(bucket, **fields):
    bucket.put_document(lake.SCALED_DOWN, Record(**fields).model_dump(mode="json"))


def kept(bucket):
    found = bucket.document(lake.SCALED_DOWN)
    return Record.model_validate(found) if found else None


# --- the lock ---
def test_first_scale_down_claims_before_it_looks_who_else_is_there(bucket):
    claim = lock.acquire_lock(context(Run("scale_down/1")), Phase.GOING_DOWN)
    assert claim == kept(bucket) == Record(phase=Phase.CLAIMED, owner="scale_down/1")


def test_scale_up_claims_nothing_when_nothing_is_down(bucket):
    assert lock.acquire_lock(context(Run("scale_up/1")), Phase.COMING_UP) is None
    assert kept(bucket) is None


def test_living_owner_is_waited_for(bucket, sleeping):
    keep(bucket, phase=Phase.GOING_DOWN, owner="scale_down/1", state=STATE)
    me = Run("scale_up/1", alive=["scale_down/1"])
    sleeping.append(me.alive.clear)
    assert lock.acquire_lock(context(me), Phase.COMING_UP) == Record(
        phase=Phase.COMING_UP, owner="scale_up/1", state=STATE
    )


def test_owner_that_does_not_end_is_named_in_the_refusal(bucket, sleeping, monkeypatch):
    keep(bucket, phase=Phase.GOING_DOWN, owner="scale_down/1", state=STATE)
    monkeypatch.setattr(lock, "LOCK_TIMEOUT", 0.05)
    sleeping.extend([lambda: None] * 1_000_000)
    with pytest.raises(RetailError, match=r"scale_down/1 is under way .* did not end"):
        lock.acquire_lock(context(Run("scale_up/1", alive=["scale_down/1"])), Phase.COMING_UP)
    assert kept(bucket).owner == "scale_down/1"


def test_record_of_a_failed_run_is_taken_over_with_its_state(bucket):
    keep(bucket, phase=Phase.COMING_UP, owner="scale_up/1", state=STATE)
    taken = lock.acquire_lock(context(Run("scale_down/2")), Phase.GOING_DOWN)
    assert (taken.owner, taken.phase, taken.state) == ("scale_down/2", Phase.GOING_DOWN, STATE)


def test_of_two_that_claim_at_once_one_waits_for_the_other(bucket, sleeping):
    me = Run("scale_down/1", alive=["scale_down/2"])
    bucket.meanwhile = lambda: keep(bucket, phase=Phase.CLAIMED, owner="scale_down/2")
    sleeping.append(lambda: bucket.remove([lake.SCALED_DOWN]))
    assert lock.acquire_lock(context(me), Phase.GOING_DOWN).owner == "scale_down/1"
    assert me.asked == 1


def test_task_goes_on_only_with_its_own_record(bucket):
    me = context(Run("scale_down/1"))
    with pytest.raises(RetailError, match="is gone"):
        lock.require_lock(me)
    keep(bucket, phase=Phase.COMING_UP, owner="scale_up/9", state=STATE)
    with pytest.raises(RetailError, match="now of scale_up/9"):
        lock.require_lock(me)


def test_claim_that_came_to_nothing_is_given_back_and_a_record_never(bucket):
    keep(bucket, phase=Phase.CLAIMED, owner="scale_down/1")
    lock.release_claim(kept(bucket))
    assert kept(bucket) is None
    keep(bucket, phase=Phase.GOING_DOWN, owner="scale_down/1", state=STATE)
    lock.release_claim(kept(bucket))
    assert kept(bucket)


# --- deploy ---
GENERAL = NodeGroup(name=settings().nodegroup, minimum=0, desired=2, maximum=10)


def node_groups(monkeypatch, *groups):
    there = SimpleNamespace(has_cluster=lambda: bool(groups), groups=lambda: list(groups))
    monkeypatch.setattr(environment_state, "NodeGroupHook", lambda _connection: there)


@pytest.mark.parametrize(
    ("record", "alive", "may"),
    [
        (None, [], True),
        ({"phase": Phase.DOWN, "owner": "scale_down/1", "state": STATE}, [], False),
        ({"phase": Phase.COMING_UP, "owner": "scale_up/1", "state": STATE}, [], False),
        ({"phase": Phase.CLAIMED, "owner": "scale_down/1"}, ["scale_down/1"], False),
        ({"phase": Phase.CLAIMED, "owner": "scale_down/1"}, [], True),  # killed while it waited: nothing was changed
    ],
)
def test_deploy_waits_while_there_is_a_record(bucket, monkeypatch, caplog, record, alive, may):
    if record:
        keep(bucket, **record)
    node_groups(monkeypatch, GENERAL)
    assert environment_state.is_scaled_up(context(Run("deploy/1", alive))) is may
    assert ("waiting for scale_up" in caplog.text) is not may


def test_deploy_waits_when_the_backstop_left_no_node_and_no_record(bucket, monkeypatch, caplog):
    node_groups(monkeypatch, GENERAL.stopped())
    assert not environment_state.is_scaled_up(context(Run("deploy/1")))
    assert "by the nightly backstop: waiting for scale_up" in caplog.text


def test_deploy_goes_on_without_a_cluster_and_says_there_what_is_missing(bucket, monkeypatch):
    node_groups(monkeypatch)
    assert environment_state.is_scaled_up(context(Run("deploy/1")))


def test_scale_down_waits_for_a_deploy_that_lives_and_not_for_one_that_was_given_up(monkeypatch):
    me = Run("scale_down/1", alive=["deploy/a"])
    me.deploys = {"a": {"wait_until_scaled_up": "success", "apply_canary": "running"}}
    assert tasks._active_release(context(me)) == "deploy is under way (run a)"
    monkeypatch.setattr(tasks, "ClusterHook", lambda: SimpleNamespace(login=contextlib.nullcontext))
    monkeypatch.setattr(tasks, "Capacity", lambda _cluster: SimpleNamespace(deployments=list))
    me.alive.clear()
    assert tasks._active_release(context(me)) == ""


# --- hours ---
class Clock(dt.datetime):
    @classmethod
    def now(cls, tz=None):
        return dt.datetime(2026, 11, 26, 9, tzinfo=ZONE)  # Thursday, working time


@pytest.fixture
def nine_on_thursday(monkeypatch):
    monkeypatch.setattr(tasks.dt, "datetime", Clock)


def test_scheduled_scale_down_of_a_night_that_is_over_is_skipped_with_the_reason(nine_on_thursday):
    with pytest.raises(AirflowSkipException, match="too late: since Thu 07:00"):
        tasks._skip_when_late(context(Run("scale_down/1"), "scheduled"), "down")


def test_run_by_hand_does_what_it_is_asked_to_at_any_hour(nine_on_thursday):
    tasks._skip_when_late(context(Run("scale_down/1"), "manual"), "down")
    tasks._skip_when_late(context(Run("scale_up/1"), "scheduled"), "up")


@pytest.mark.parametrize("task", [tasks.record_state, tasks.acquire_lock])
def test_without_a_cluster_both_are_skipped(monkeypatch, bucket, task):
    dag = {tasks.record_state: "scale_down", tasks.acquire_lock: "scale_up"}[task]
    monkeypatch.setattr(tasks, "get_current_context", lambda: context(Run(f"{dag}/1")))
    monkeypatch.setattr(tasks, "NodeGroupHook", lambda: SimpleNamespace(has_cluster=lambda: False))
    with pytest.raises(AirflowSkipException, match="there is no cluster"):
        task()
    assert kept(bucket) is None


def test_late_scale_up_does_not_undo_a_later_scale_down(monkeypatch, bucket, nine_on_thursday):
    moment = dt.datetime(2026, 11, 26, 7, tzinfo=ZONE)
    later = moment + dt.timedelta(hours=1)
    keep(bucket, phase=Phase.DOWN, owner="scale_down/1", state=STATE, off_since=later, planned_until=later)
    monkeypatch.setattr(tasks, "get_current_context", lambda: context(Run("scale_up/1"), "scheduled", moment))
    monkeypatch.setattr(tasks, "NodeGroupHook", lambda: SimpleNamespace(has_cluster=lambda: True))
    with pytest.raises(AirflowSkipException, match="after this run's own time"):
        tasks.acquire_lock()
    assert kept(bucket).phase is Phase.DOWN


def test_late_scale_up_looks_at_the_record_when_the_scale_down_that_it_waited_for_is_over(
    monkeypatch, bucket, sleeping, nine_on_thursday
):
    moment = dt.datetime(2026, 11, 26, 7, tzinfo=ZONE)
    later = moment + dt.timedelta(hours=1)
    keep(bucket, phase=Phase.GOING_DOWN, owner="scale_down/1", state=STATE)
    me = Run("scale_up/1", alive=["scale_down/1"])

    def is_down():
        me.alive.clear()
        keep(bucket, phase=Phase.DOWN, owner="scale_down/1", state=STATE, off_since=later, planned_until=later)

    sleeping.append(is_down)
    monkeypatch.setattr(tasks, "get_current_context", lambda: context(me, "scheduled", moment))
    monkeypatch.setattr(tasks, "NodeGroupHook", lambda: SimpleNamespace(has_cluster=lambda: True))
    with pytest.raises(AirflowSkipException, match="after this run's own time"):
        tasks.acquire_lock()
    assert kept(bucket).phase is Phase.DOWN


def test_scale_up_of_a_bare_claim_removes_it_and_has_nothing_to_do(monkeypatch, bucket):
    keep(bucket, phase=Phase.CLAIMED, owner="scale_down/1")
    monkeypatch.setattr(tasks, "get_current_context", lambda: context(Run("scale_up/1")))
    monkeypatch.setattr(tasks, "NodeGroupHook", lambda: SimpleNamespace(has_cluster=lambda: True))
    with pytest.raises(AirflowSkipException, match="had not begun"):
        tasks.acquire_lock()
    assert kept(bucket) is None


def test_nothing_is_asked_when_nothing_was_deployed(bucket):
    keep(bucket, phase=Phase.COMING_UP, owner="scale_up/1", state=STATE)
    assert tasks.verification(context(Run("scale_up/1"))) == "nothing was deployed: no prediction to verify"
