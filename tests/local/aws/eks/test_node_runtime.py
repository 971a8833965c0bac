"""What EKS adds to a pod whose service account has a role."""

from local.aws.eks.node_runtime import inject_role

ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/api"}


def pod(**container):
    return {"containers": [{"name": "api", **container}]}


def test_a_service_account_with_a_role_gets_a_token_and_the_sdks_variables():
    spec = pod()
    inject_role(spec, ROLE, "ap-southeast-1")
    container, token = spec["containers"][0], spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    env = {item["name"]: item["value"] for item in container["env"]}
    assert token == {"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}
    assert env["AWS_ROLE_ARN"] == "arn:aws:iam::123456789012:role/api"
    assert env["AWS_WEB_IDENTITY_TOKEN_FILE"] == container["volumeMounts"][0]["mountPath"] + "/token"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "ap-southeast-1"


def test_annotations_choose_audience_and_life_of_the_token():
    spec = pod()
    notes = {"eks.amazonaws.com/audience": "mine", "eks.amazonaws.com/token-expiration": "3600"}
    inject_role(spec, ROLE | notes, "ap-southeast-1")
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["audience"], token["expirationSeconds"]) == ("mine", 3600)


def test_a_variable_of_the_manifest_wins():
    spec = pod(env=[{"name": "AWS_REGION", "value": "eu-west-1"}])
    inject_role(spec, ROLE, "ap-southeast-1")
    assert [item["value"] for item in spec["containers"][0]["env"] if item["name"] == "AWS_REGION"] == ["eu-west-1"]


def test_a_service_account_without_a_role_changes_nothing():
    spec = pod()
    inject_role(spec, {"another/annotation": "x"}, "ap-southeast-1")
    assert spec == pod()
