import json

from local.aws.eks import node_runtime as eks

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/api"}


def pod(**container):
    return {"containers": [{"name": "api", **container}]}


def test_a_service_account_with_a_role_gets_a_token_and_the_sdks_variables():
    spec = pod()
    eks.inject_role(spec, ROLE, "ap-southeast-1")
    container, token = spec["containers"][0], spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert token == {"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}
    assert env["AWS_ROLE_ARN"] == "arn:aws:iam::123456789012:role/api"
    assert env["AWS_WEB_IDENTITY_TOKEN_FILE"] == container["volumeMounts"][0]["mountPath"] + "/token"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "ap-southeast-1"


def test_annotations_choose_audience_and_life_of_the_token():
    spec = pod()
    notes = {"eks.amazonaws.com/audience": "mine", "eks.amazonaws.com/token-expiration": "3600"}
    eks.inject_role(spec, ROLE | notes, "ap-southeast-1")
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["audience"], token["expirationSeconds"]) == ("mine", 3600)


def test_a_variable_of_the_manifest_wins():
    spec = pod(env=[{"name": "AWS_REGION", "value": "eu-west-1"}])
    eks.inject_role(spec, ROLE, "ap-southeast-1")
    assert [item["value"] for item in spec["containers"][0]["env"] if item["name"] == "AWS_REGION"] == ["eu-west-1"]


def test_a_service_account_without_a_role_changes_nothing():
    spec = pod()
    eks.inject_role(spec, {"another/annotation": "x"}, "ap-southeast-1")
    assert spec == pod()


def test_log_lines_are_shipped_whole_and_in_order():
    messages, used = eks.cut(b"one\ntwo\n\nthr", {"pod_name": "p"})
    assert [json.loads(message) for message in messages] == [
        {"log": "one", "kubernetes": {"pod_name": "p"}},
        {"log": "two", "kubernetes": {"pod_name": "p"}},
    ]
    assert used == len(b"one\ntwo\n\n")


def test_a_line_without_end_is_cut_where_an_event_would_be_too_large():
    messages, used = eks.cut(b"x" * (eks.EVENT_BYTES + 1), {})
    assert used == eks.EVENT_BYTES
    assert len(messages) == 1


def test_no_batch_is_larger_than_cloudwatch_takes_and_nothing_is_lost():
    data = b"".join(b"line %d\n" % number for number in range(20000))
    lines, position = [], 0
    while position < len(data):
        messages, used = eks.cut(data[position:], {"labels": {"a": "b" * 100}})
        assert 0 < len(messages) <= 10000
        assert sum(len(message) + 26 for message in messages) <= 2**20
        lines += [json.loads(message)["log"] for message in messages]
        position += used
    assert lines == [f"line {number}" for number in range(20000)]
