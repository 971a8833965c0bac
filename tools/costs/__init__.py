"""Write docs/costs.md: what a month costs, by resource, in five scenarios.

What exists is counted in infra/*.yaml and k8s/rendered/eks*.yaml. Sizes come from the settings, prices from
include/prices.toml. What only use decides (gigabytes, runs) is in `usage.py` and is shown with the result.
"""
