"""The rules of a rollout's progress, one status at a time."""

import pytest

from retail_mlops.hooks.rollout_status import Phase, is_unrecoverable, progress


def deployment(*conditions, **status):
    """A Deployment of two replicas in its second generation."""
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, "conditions": list(conditions), **status},
    }


DONE = {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}
LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({**DONE, "observedGeneration": 1}, "has not seen"),
        ({**DONE, "updatedReplicas": 1}, "1 of 2 pods are of the new version"),
        ({**DONE, "replicas": 3}, "1 pods of the old version have not ended"),
        ({**DONE, "availableReplicas": 1}, "1 of 2 new pods are available"),
        ({"updatedReplicas": 0, "replicas": 0}, "0 of 2 pods"),
    ],
)
def test_rollout_that_is_not_done_waits_and_says_for_what(status, text):
    now = progress(deployment(**status))
    assert now.phase is Phase.WAITING
    assert text in now.text


def test_rollout_is_done_when_every_pod_is_new_and_available():
    assert progress(deployment(**DONE)).phase is Phase.DONE


def test_rollout_is_not_done_while_old_pods_may_still_answer():
    now = progress(deployment(**DONE), terminating=1)
    assert (now.phase, now.text) == (Phase.WAITING, "1 pods of the old version still drain")


def test_exceeded_deadline_fails_at_once():
    now = progress(deployment(LATE, **{**DONE, "availableReplicas": 1}))
    assert (now.phase, now.text) == (Phase.FAILED, "timed out")


def test_deadline_of_the_version_before_does_not_count():
    now = progress(deployment(LATE, **{**DONE, "observedGeneration": 1}))
    assert now.phase is Phase.WAITING


def test_new_deployment_without_status_waits():
    assert progress({"metadata": {"generation": 1}, "spec": {"replicas": 2}}).phase is Phase.WAITING


TEMPLATE = {"metadata": {"annotations": {"retail-mlops/release": "v2"}}}


@pytest.mark.parametrize(
    ("release", "state", "unrecoverable"),
    [
        ("v2", {"waiting": {"reason": "CrashLoopBackOff"}}, True),
        ("v2", {"waiting": {"reason": "ImagePullBackOff"}}, True),
        ("v2", {"waiting": {"reason": "ErrImagePull"}}, False),  # once may be bad luck
        ("v2", {"waiting": {"reason": "ContainerCreating"}}, False),
        ("v2", {"running": {}}, False),
        ("v1", {"waiting": {"reason": "CrashLoopBackOff"}}, False),  # the release before, which is to go
    ],
)
def test_rollout_is_given_up_when_a_new_pod_cannot_start(release, state, unrecoverable):
    annotations = {"retail-mlops/release": release, "more": "of it"}
    pod = {"metadata": {"annotations": annotations}, "status": {"containerStatuses": [{"state": state}]}}
    assert is_unrecoverable(pod, TEMPLATE) is unrecoverable


def test_pod_that_nobody_started_yet_is_not_unrecoverable():
    assert not is_unrecoverable({"metadata": {"annotations": {"retail-mlops/release": "v2"}}}, TEMPLATE)
