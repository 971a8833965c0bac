"""Settings refuse what cannot work together, and name the variable."""

import pytest

from include.settings import Settings, settings

CERTIFICATE = "arn:aws:acm:ap-southeast-1:123456789012:certificate/12345678-90ab-cdef-1234-567890abcdef"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def settings_with(monkeypatch):
    """The settings of a process with these RETAIL_* variables."""

    def make(**variables):
        for name, text in variables.items():
            monkeypatch.setenv(f"RETAIL_{name.upper()}", text)
        settings.cache_clear()
        return settings()

    yield make
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize(
    "variables",
    [
        {"endpoint_kind": "nlb"},
        {"endpoint_kind": "alb"},
        {"endpoint_kind": "alb", "endpoint_certificate_arn": CERTIFICATE, "endpoint_host": "prices.example.com"},
        {"endpoint_kind": "alb", "controller_digest": DIGEST},
        {"endpoint_kind": "nlb", "overlay": "embedded"},
    ],
)
def test_endpoints_that_work(settings_with, variables):
    assert settings_with(**variables).endpoint_kind == variables["endpoint_kind"]


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"endpoint_certificate_arn": CERTIFICATE}, "need RETAIL_ENDPOINT_KIND=alb"),
        ({"endpoint_host": "prices.example.com"}, "need RETAIL_ENDPOINT_KIND=alb"),
        ({"endpoint_kind": "alb", "overlay": "embedded"}, "no load balancer controller runs in the embedded cluster"),
        (
            {"endpoint_kind": "alb", "endpoint_certificate_arn": CERTIFICATE, "endpoint_port": "443"},
            "RETAIL_ENDPOINT_PORT is the port that redirects to HTTPS",
        ),
        (
            {"endpoint_kind": "alb", "endpoint_certificate_arn": CERTIFICATE.replace("southeast", "south")},
            "RETAIL_ENDPOINT_CERTIFICATE_ARN",
        ),
        ({"endpoint_kind": "alb", "endpoint_host": "Prices.example.com"}, "RETAIL_ENDPOINT_HOST"),
        ({"endpoint_kind": "alb", "endpoint_host": "https://prices.example.com"}, "RETAIL_ENDPOINT_HOST"),
        ({"endpoint_kind": "alb", "endpoint_host": "prices"}, "RETAIL_ENDPOINT_HOST"),
        ({"controller_digest": "v3.2.2"}, "RETAIL_CONTROLLER_DIGEST"),
    ],
)
def test_endpoints_that_cannot_work_are_refused(settings_with, variables, complaint):
    with pytest.raises(ValueError, match=complaint):
        settings_with(**variables)


@pytest.mark.parametrize("name", ["owner", "cost_center"])
def test_tags_that_every_service_takes(settings_with, name):
    assert getattr(settings_with(**{name: "Équipe ML: a/b+c_d@x-1.2"}), name) == "Équipe ML: a/b+c_d@x-1.2"


@pytest.mark.parametrize("name", ["owner", "cost_center"])
@pytest.mark.parametrize("text", ["", "ml,retail", "team=ml", "a\nb", "a&b", "x" * 257])
def test_tags_that_a_load_balancer_would_misread_or_aws_refuse(settings_with, name, text):
    with pytest.raises(ValueError, match=rf"RETAIL_{name.upper()}: .*is no tag value"):
        settings_with(**{name: text})


def test_every_setting_is_in_the_example():
    from local.stack.config import ROOT

    example = (ROOT / ".env.example").read_text()
    assert [name for name in Settings.model_fields if f"#RETAIL_{name.upper()}=" not in example] == []
