"""Variables, references and paths of a container. Pure functions on objects of the API."""

import json
import re
from collections.abc import Callable, Iterable, Mapping

from local.kube import quantity
from local.kube.api import Object, loopback


def localize(text: str, mounts: Mapping[str, str], address: str) -> str:
    """Return a text of a manifest for this machine: mount paths become directories, 0.0.0.0 the pod's address.

    All in one pass, the longest mount path first: a directory that replaced a path is not replaced again.
    """
    paths = sorted(mounts, key=len, reverse=True)
    patterns = [rf"(?<![\w./-]){re.escape(path)}(?![\w.-])" for path in paths]
    patterns.append(r"(?<![\d.])0\.0\.0\.0(?![\d.])")
    return re.sub("|".join(patterns), lambda match: mounts.get(match[0], address), text)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace $(NAME) by the variable's value, if it has one; $$(NAME) is an escaped $(NAME)."""
    return re.sub(
        r"\$(\$)?\(([\w.-]+)\)", lambda match: match[0][1:] if match[1] else env.get(match[2], match[0]), text
    )


def field(pod: Object, path: str, address: str) -> str:
    """Return the value of a fieldRef; address is where the pod listens."""
    if path in ("status.podIP", "status.podIPs"):
        return address
    if path in ("status.hostIP", "status.hostIPs"):
        return "127.0.0.1"
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(pod["metadata"].get(match[1], {}).get(match[2], ""))
    section, _, name = path.partition(".")
    value = pod[section].get(name, "")
    if isinstance(value, dict):
        return "\n".join(f"{key}={json.dumps(text)}" for key, text in sorted(value.items()))
    return str(value)


def resource(reference: Object, container: Object, capacity: Mapping[str, str]) -> str:
    """Return the value of a resourceFieldRef: of the container, else of its node."""
    section, _, name = reference["resource"].partition(".")
    amount = container.get("resources", {}).get(section, {}).get(name) or capacity[name]
    return str(quantity.in_units(amount, reference.get("divisor", "0")))


def service_links(services: Iterable[Object], namespace: str, listen: Callable[[int], int]) -> dict[str, str]:
    """Return <NAME>_SERVICE_HOST, <NAME>_SERVICE_PORT and <NAME>_PORT of the Services of a namespace.

    listen: from a Service's port to the port at which it listens.
    """
    env: dict[str, str] = {}
    for item in services:
        spec = item["spec"]
        name = re.sub(r"\W", "_", item["metadata"]["name"]).upper()
        if item["metadata"]["namespace"] == namespace and spec.get("clusterIP", "None") not in ("", "None"):
            host = loopback(spec["clusterIP"])
            port = listen(spec["ports"][0]["port"])
            env |= {f"{name}_SERVICE_HOST": host, f"{name}_SERVICE_PORT": str(port)}
            env[f"{name}_PORT"] = f"tcp://{host}:{port}"
    return env
