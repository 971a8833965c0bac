"""Releases under constant traffic: users must not notice a good one, nor a bad one, nor what breaks meanwhile.

Traffic is an open loop through the public endpoint, half of it on kept connections and half on new ones; the embedded
Services follow their pods late, as load balancers do.
"""

import json
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.load import closed_loop, open_loop
from cli.images import code_image
from include import lake
from include.settings import API_REPOSITORY, settings
from local.aws.credentials import session
from local.kube.proxy import ENDPOINT_LAG
from local.stack import config
from local.stack.code_images import CONTENTS
from local.stack.processes import members
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1500)]

RATE = 200
LONGEST = 300
LABEL = "app.kubernetes.io/name=retail-api"


# --- the local stack ---
def bodies_of(live):
    """The release's held-out baskets, as clients send them."""
    release = record(live, stable(live)["release"])["release"]["id"]
    lines = (
        live.client("s3")
        .get_object(
            Bucket=settings().bucket, Key=lake.release_model(release).replace("model.tar.gz", "held_out.jsonl")
        )["Body"]
        .read()
    )
    return [json.dumps(json.loads(line)["request"]).encode() for line in lines.splitlines()]


@pytest.fixture(scope="module")
def bodies(live):
    return bodies_of(live)


@pytest.fixture
def traffic(live, bodies):
    """`with traffic() as seen:` ... the report is in seen afterwards."""

    @contextmanager
    def flow():
        seen, stop = {}, threading.Event()
        with ThreadPoolExecutor(1) as pool:
            going = pool.submit(
                open_loop, f"{live.demo['endpoint']}/predict", RATE, LONGEST, bodies, kept=0.5, stop=stop
            )
            try:
                time.sleep(1)
                yield seen
            finally:
                stop.set()
                seen["report"] = going.result()
        assert seen["report"].sent > RATE, "there was no traffic to speak of"

    return flow


def get(live, *what):
    return json.loads(live.kubectl("get", *what, "-n", "mlops", "-o", "json"))


def stable(live):
    """The stable pods by name and uid, and their release."""
    items = get(live, "pods", "-l", f"{LABEL},retail-mlops/track=stable")["items"]
    (release,) = {item["metadata"]["annotations"]["retail-mlops/release"] for item in items}
    return {"pods": sorted(item["metadata"]["uid"] for item in items), "release": release}


def canaries(live):
    return get(live, "pods,deployments", "-l", f"{LABEL},retail-mlops/track=canary")["items"] + [
        item for item in get(live, "deployments")["items"] if item["metadata"]["name"] == "retail-api-canary"
    ]


def record(live, release):
    answer = live.client("s3").get_object(Bucket=settings().bucket, Key=lake.deployment(release))
    return json.loads(answer["Body"].read())


def record_of(live, run):
    """What the run recorded of its release."""
    listed = live.client("s3").list_objects_v2(Bucket=settings().bucket, Prefix="logs/deployments/")["Contents"]
    releases = [item["Key"].removeprefix("logs/deployments/").removesuffix(".json") for item in listed]
    (found,) = [one for one in (record(live, release) for release in releases) if one["run"] == f"deploy/{run}"]
    return found


def deploy(live, **conf):
    """Starts a release of the demo's model and image, or of what `conf` says."""
    image = f"{settings().repository(API_REPOSITORY)}@{live.demo['image'].partition('@')[2]}"
    return live.airflow.trigger("deploy", {"force": True, "bake_seconds": 6, "image": image} | conf)


def ended(live, run, seconds=LONGEST - 20):
    return live.airflow.wait("deploy", run, seconds)["state"], live.airflow.states("deploy", run)


def released(live, run):
    state, tasks = ended(live, run)
    failed = [live.airflow.log("deploy", run, task)[-2000:] for task, one in tasks.items() if one == "failed"]
    assert state == "success", "\n".join([str(tasks), *failed])
    return stable(live)["release"]


@pytest.fixture(scope="module")
def changed_image(live, tmp_path_factory):
    """Pushes the API with one text in one of its files replaced; the image's reference."""

    def build(file, old, new):
        base = tmp_path_factory.mktemp("source")
        for source in CONTENTS[API_REPOSITORY].sources:
            copy = shutil.copytree if (config.ROOT / source).is_dir() else shutil.copy2
            (base / source).parent.mkdir(parents=True, exist_ok=True)
            copy(config.ROOT / source, base / source)
        text = (base / file).read_text()
        assert text.count(old) == 1, f"{file} has changed: {old!r} is not what this test expects"
        (base / file).write_text(text.replace(old, new))
        return code_image.push(session(live.stack), live.stack, code_image.build(API_REPOSITORY, base))

    return build


# --- good releases ---
def test_lag_of_the_endpoints_is_there():
    assert ENDPOINT_LAG >= 1.5, "without it a missing preStop would stay hidden"


def test_no_request_fails_while_a_release_is_rolled_out_and_rolled_back_and_forward_again(live, traffic, changed_image):
    first, other = stable(live)["release"], changed_image("api/pages/index.html", "</html>", "<!-- another --></html>")
    with traffic() as seen:
        second = released(live, deploy(live, image=other))
        back = deploy(live, image=None, rollback_to="previous")
        third = released(live, back)
        fourth = released(live, deploy(live, image=None, rollback_to="previous"))
    assert seen["report"].failed == {}
    before = {release: record(live, release)["release"]["previous"] for release in (second, third, fourth)}
    assert before == {second: first, third: second, fourth: third}
    images_of = [record(live, release)["release"]["image"] for release in (first, second, third, fourth)]
    assert (images_of[2:], images_of[1]) == (images_of[:2], other)
    assert live.airflow.states("deploy", back)["bake"] == "skipped"
    bake = record(live, second)["checks"]["bake"]
    assert bake["result"] == "passed"
    assert bake["canary"]["requests"] > 120 * 1.5, "it got users' requests, too"
    until(lambda: canaries(live) == [], 60, "the canary has drained")


def test_public_endpoint_goes_and_comes_back_at_the_same_address(live):
    same = {"force": False, "image": record(live, stable(live)["release"])["release"]["image"]}
    try:
        state, tasks = ended(live, deploy(live, public_endpoint="off", **same))
        assert (state, tasks["update_endpoint"], tasks["choose_release"]) == ("success", "success", "skipped")
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(live.demo["endpoint"] + "/ready", timeout=5)
        ended(live, deploy(live, **same))
        assert live.client("elbv2").describe_load_balancers()["LoadBalancers"] == [], "it is kept as it was: off"
    finally:
        ended(live, deploy(live, public_endpoint="on", **same))
    live.wait_for_endpoint()


def status(live, key=None):
    """What the public endpoint answers to a prediction."""
    request = urllib.request.Request(f"{live.demo['endpoint']}/predict", bodies_of(live)[0], method="POST")
    request.add_header("Content-Type", "application/json")
    if key:
        request.add_header("X-API-Key", key)
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def test_key_of_a_secret_is_asked_for_after_a_release_and_changes_without_one(live):
    first, second = "the-first-key-of-all", "the-second-key-of-all"
    secret = ["secret", "retail-api-key", "-n", "mlops"]
    live.kubectl("create", "secret", "generic", *secret[1:], f"--from-literal=API_KEY={first}")
    try:
        release = released(live, deploy(live))  # its Jobs use the key
        assert record(live, release)["checks"]["bake"]["result"] == "passed"
        assert [status(live), status(live, second), status(live, first)] == [401, 401, 200]
        live.kubectl("patch", *secret, "-p", json.dumps({"stringData": {"API_KEY": f"{first}\n{second}"}}))
        until(lambda: status(live, second) == 200, 120, "the second key is accepted, too")
        live.kubectl("patch", *secret, "-p", json.dumps({"stringData": {"API_KEY": second}}))
        until(lambda: status(live, first) == 401, 120, "the first key is refused")
        assert status(live, second) == 200
    finally:
        live.kubectl("delete", *secret)
        released(live, deploy(live, bake_seconds=0))
    assert status(live) == 200


# --- bad canaries ---
CRASHES = ("api/__main__.py", 'if __name__ == "__main__":', 'raise SystemExit("broken on purpose")\nif __name__ == "":')
SLOW = ("api/http/protocol.py", "loop.call_soon(self._answer_pending)", "loop.call_later(0.2, self._answer_pending)")
WRONG = ("api/http/scoring.py", "Answer(scored.prediction,", 'Answer("Low",')


@pytest.fixture
def untouched(live):
    """What has to be true after a canary that failed."""
    before = stable(live)

    def check(run, seen, task, reason):
        state, tasks = ended(live, run)
        assert (state, tasks[task], tasks["roll_back"]) == ("failed", "failed", "success"), tasks
        assert seen["report"].failed == {}
        assert stable(live) == before
        assert canaries(live) == []
        assert reason in live.airflow.log("deploy", run, task)
        kept = record_of(live, run)
        assert kept["outcome"] == "failed"
        assert f"{task} failed" in kept["reason"]

    return check


@pytest.mark.parametrize(
    ("change", "task", "reason"),
    [
        pytest.param(CRASHES, "wait_for_canary", "broken on purpose", id="crashes"),
        pytest.param(SLOW, "bake", "the canary's p95 is", id="slow"),
        pytest.param(WRONG, "verify_canary", "prediction is", id="wrong"),
    ],
)
def test_bad_canary_is_gone_before_users_notice(live, traffic, changed_image, untouched, change, task, reason):
    image = changed_image(*change)
    with traffic() as seen:
        run = deploy(live, image=image)
        ended(live, run)
    untouched(run, seen, task, reason)


def after(live, run, task):
    """Returns as soon as a task of the run has succeeded."""
    over = ("success", "failed", "skipped")
    state = until(lambda: (now := live.airflow.states("deploy", run)[task]) in over and now, 120, task, longest=0.1)
    assert state == "success", f"{task} is {state}"


def test_canary_whose_package_is_rejected_meanwhile_refuses_to_start(live, traffic, untouched):
    sagemaker, arn = live.client("sagemaker"), record(live, stable(live)["release"])["release"]["model_package_arn"]
    with traffic() as seen:
        run = deploy(live)
        after(live, run, "choose_release")
        sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
        try:
            ended(live, run)
        finally:
            sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    untouched(run, seen, "wait_for_canary", "must not be served")


def test_canary_whose_image_is_gone_cannot_be_pulled(live, traffic, changed_image, untouched):
    image = changed_image("api/pages/index.html", "</html>", "<!-- will be gone --></html>")
    with traffic() as seen:
        run = deploy(live, image=image)
        after(live, run, "choose_release")
        name, _, digest = image.partition("@")
        live.client("ecr").batch_delete_image(repositoryName=name.partition("/")[2], imageIds=[{"imageDigest": digest}])
        ended(live, run)
    untouched(run, seen, "wait_for_canary", "Failed to pull image")


def test_canary_whose_bundle_was_tampered_with_refuses_it(live, traffic, untouched):
    before = stable(live)["release"]
    good = live.client("s3").get_object(Bucket=settings().bucket, Key=lake.release_model(before))["Body"].read()
    with traffic() as seen:
        run = deploy(live)
        after(live, run, "stage_bundle")
        release = until(lambda: newest_staged(live, before), 10, "the release's copy", longest=0.05)
        live.client("s3").put_object(
            Bucket=settings().bucket, Key=lake.release_model(release), Body=good[:-100] + bytes(100)
        )
        ended(live, run)
    untouched(run, seen, "wait_for_canary", "")


def newest_staged(live, but):
    listed = live.client("s3").list_objects_v2(Bucket=settings().bucket, Prefix="artifacts/releases/v")["Contents"]
    newest = max(listed, key=lambda item: item["LastModified"])["Key"].split("/")[2]
    return newest if newest != but else None


# --- what breaks while it serves ---
def processes(live, text):
    """The processes of the stack whose command line has these whole words."""
    found = []
    for pid in members(str(live.stack.state)):
        try:
            if f"{text} " in " ".join([*psutil.Process(pid).cmdline(), ""]):
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def available(live):
    return get(live, "deployment", "retail-api")["status"].get("availableReplicas", 0)


def test_killed_process_costs_at_most_what_it_had_in_hand(live, traffic):
    (victim, *_) = processes(live, "-m api")
    with traffic() as seen:
        time.sleep(2)
        os.kill(victim, signal.SIGKILL)
        time.sleep(8)
    assert lost(seen) <= RATE * (ENDPOINT_LAG + 2.5) / 2, "half the requests, until the Services follow"
    until(lambda: available(live) == 2, 60, "it comes back by itself")


def test_aws_that_does_not_answer_is_not_noticed(live, traffic):
    (aws,) = processes(live, "-m local.aws")
    with traffic() as seen:
        os.kill(aws, signal.SIGSTOP)  # S3, STS, the registries: requests hang, as on a broken network
        try:
            time.sleep(10)
            with pytest.raises(TimeoutError):
                urllib.request.urlopen(live.stack.aws_url, timeout=1)
        finally:
            os.kill(aws, signal.SIGCONT)
        time.sleep(3)
    assert seen["report"].failed == {}
    assert available(live) == 2


def lost(seen):
    print(f"of {seen['report'].sent} requests at {RATE} a second failed: {dict(seen['report'].failed)}")
    return sum(seen["report"].failed.values())


def test_lost_node_is_replaced_without_a_person_during_a_release(live, traffic):
    first, *_ = get(live, "pods", "-l", f"{LABEL},retail-mlops/track=stable")["items"]
    with traffic() as seen:
        run = deploy(live, bake_seconds=0)
        after(live, run, "shift_traffic")
        live.client("ec2").terminate_instances(InstanceIds=[first["spec"]["nodeName"]])
        released(live, run)
    assert lost(seen) <= RATE * (ENDPOINT_LAG + 2.5), "those of the pods that went with it, until the Services follow"
    until(lambda: available(live) == 2, 60, "both pods run again")
    assert len(live.kubectl("get", "nodes", "-o", "name").split()) == 2


def test_control_plane_that_restarts_is_not_noticed(live, traffic):
    (apiserver,) = processes(live, "kube-apiserver")
    with traffic() as seen:
        time.sleep(1)
        os.kill(apiserver, signal.SIGKILL)
        until(lambda: "retail-api" in live.kubectl("get", "deployments", "-n", "mlops", check=False), 60, "it is back")
        time.sleep(3)
    assert seen["report"].failed == {}


def test_deploy_that_was_killed_half_way_is_finished_by_the_next(live, traffic):
    with traffic() as seen:
        run = deploy(live, bake_seconds=120)
        after(live, run, "shift_traffic")
        until(lambda: live.airflow.states("deploy", run)["bake"] == "running", 30, "it bakes")
        live.airflow.call("PATCH", f"/dags/deploy/dagRuns/{run}", {"state": "failed"})
        assert canaries(live), "the run had no time to tidy up"
        second = deploy(live)
        release = released(live, second)
    assert seen["report"].failed == {}
    assert record(live, release)["outcome"] == "released"
    until(lambda: canaries(live) == [], 60, "the canary has drained")


def test_second_deploy_waits_for_the_first(live):
    first, second = deploy(live, bake_seconds=0), deploy(live, force=False)
    released(live, first)
    ended(live, second)
    assert live.airflow.run("deploy", first)["end_date"] <= live.airflow.run("deploy", second)["start_date"]


# --- autoscaling ---
def replicas(live):
    return get(live, "deployment", "retail-api")["spec"]["replicas"]


def test_load_brings_more_pods_and_a_rollout_meanwhile_loses_nothing(live, bodies):
    stop = threading.Event()

    def push():
        failed = {}
        while not stop.is_set():
            report = closed_loop(f"{live.demo['endpoint']}/predict", 8, 5, bodies)
            failed |= report.failed
        return failed

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(push)
        try:
            until(lambda: replicas(live) > 2, 120, "more than two pods", longest=1)
            released(live, deploy(live, bake_seconds=0))
            assert replicas(live) > 2, "a release does not undo the autoscaler"
        finally:
            stop.set()
        assert going.result() == {}
    until(lambda: replicas(live) == 2, 300, "two pods again", longest=2)
