"""The prediction service: `python -m api` serves one approved model bundle over HTTP.

config, errors   settings from the environment; the exceptions of this package
http/            server, fast path of POST /predict, scoring, the other routes, API keys
model/           load and verify the bundle, watch the approval of its package
telemetry/       JSON log lines, Prometheus metrics, CloudWatch metrics
pages/           the demo page and the API documentation (HTML)
checks/          programs that check a release from inside the cluster: smoke, verify, bake
"""
