from local.kube.backoff import Backoff


def test_a_restart_is_tried_at_once_and_then_after_growing_delays():
    backoff = Backoff(at_once=True)
    assert [backoff.next() for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_pull_waits_from_the_first_failure_on():
    backoff = Backoff()
    assert [backoff.next() for _ in range(3)] == [10, 20, 40]


def test_ten_good_minutes_forgive_the_failures_before():
    backoff = Backoff(at_once=True)
    for _ in range(5):
        backoff.next()
    assert backoff.next(ran=601) == 0
    assert backoff.next(ran=599) == 10
