"""Check that every installed distribution has a permissive licence: `make licences`.

`python -m tools.licences ENVIRONMENT…` reads the metadata of `.venv/<environment>`. A licence outside PERMISSIVE fails,
unless EXCEPTIONS says why that distribution may stay. An exception that nothing needs any more fails, too.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PERMISSIVE = {
    "0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "HPND",
    "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "ZPL-2.1",
}  # fmt: skip
WORDS = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd license": "BSD",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd-3-clause license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mit no attribution license (mit-0)": "MIT-0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "zope public license": "ZPL-2.1",
    "historical permission notice and disclaimer (hpnd)": "HPND",
}
"""What classifiers and free texts call the licences of PERMISSIVE, in lower case."""
NOT_A_LICENCE = ("OSI Approved", "DFSG approved", "Freely Distributable")
_UNCHANGED = "MPL-2.0 binds who changes its files; we use them as they are"
EXCEPTIONS = {
    "certifi": _UNCHANGED,
    "hypothesis": f"{_UNCHANGED}, in tests",
    "orjson": _UNCHANGED,
    "pathspec": f"{_UNCHANGED}, in mypy and yamllint",
    "psycopg2-binary": "LGPL with an exception for linking: Airflow's driver, imported and not changed",
    "setuptools": "MIT by the LICENSE file that it brings; its metadata name none",
    "text-unidecode": "Artistic License or GPL, as one likes: a dependency of Airflow, taken under the former",
    "tqdm": _UNCHANGED,
    "yamllint": "GPL: a program that make check runs; nothing of ours is linked to it, no image has it",
}
"""distribution → why it may stay although its metadata name no permissive licence."""


@dataclass(frozen=True)
class Installed:
    """An installed distribution and its licence, as an SPDX expression."""

    name: str
    version: str
    licence: str

    @property
    def permissive(self) -> bool:
        return is_permissive(self.licence)


def is_permissive(expression: str) -> bool:
    """Return whether permissive licences alone satisfy an SPDX expression: one of OR, all of AND."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        known = "MIT" if is_permissive(inner[1]) else "not-permissive"
        expression = f"{expression[: inner.start()]}{known}{expression[inner.end() :]}"
    choices = [re.split(r"\s+AND\s+", choice.strip()) for choice in re.split(r"\s+OR\s+", expression)]
    return any(all(part.strip() in PERMISSIVE for part in choice) for choice in choices)


def licence_of(distribution: Distribution) -> str:
    """Return the SPDX expression of a distribution, from its metadata; several classifiers mean all of them."""
    metadata = distribution.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    classified = [
        line.split(" :: ")[-1] for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    if named := [line for line in classified if line not in NOT_A_LICENCE]:
        return " AND ".join(sorted({WORDS.get(line.lower(), line) for line in named}))
    text = metadata["License"].strip() if "License" in metadata else ""
    first = text.splitlines()[0] if text else "no licence named"
    return WORDS.get(first.lower(), first)


def installed(environment: Path) -> Iterator[Installed]:
    """Yield the distributions of a virtual environment. Raise FileNotFoundError when there are none."""
    folders = [str(path) for path in environment.glob("lib/python3*/site-packages")]
    by_name = {distribution.metadata["Name"]: distribution for distribution in distributions(path=folders)}
    if not by_name:
        raise FileNotFoundError(f"{environment} has no distributions: run `make install`")
    for name, distribution in sorted(by_name.items(), key=lambda pair: pair[0].lower()):
        yield Installed(name, distribution.version, licence_of(distribution))


def complaints(distributions: list[Installed], exceptions: dict[str, str]) -> list[str]:
    """Return what is wrong, one sentence each."""
    bad = {item.name: item for item in distributions if not item.permissive}
    wrong = [f"{item.name} {item.version} is {item.licence}" for name, item in bad.items() if name not in exceptions]
    return wrong + [f"{name} needs no exception any more" for name in exceptions if name not in bad]


def main(environments: list[str]) -> int:
    """Print every distribution by licence; the exit status is 1 when something is wrong, or nothing is installed."""
    everything: dict[str, Installed] = {}
    try:
        for name in environments:
            everything |= {f"{item.name} {item.version}": item for item in installed(ROOT / ".venv" / name)}
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    by_licence: dict[str, list[str]] = {}
    for name_and_version, item in everything.items():
        by_licence.setdefault(item.licence, []).append(name_and_version)
    for licence, names in sorted(by_licence.items()):
        print(f"{licence}: {', '.join(sorted(names, key=str.lower))}")
    wrong = complaints(list(everything.values()), EXCEPTIONS)
    summary = f"{len(everything)} distributions, {len(EXCEPTIONS)} exceptions, {len(wrong)} complaints"
    print(summary, *wrong, sep="\n  ")
    return 1 if wrong or not everything else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
