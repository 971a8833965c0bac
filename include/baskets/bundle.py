"""The model bundle: a folder of five files that is written once, verified completely, and then used to predict.

    manifest.json   schema version, labels, feature names, SHA-256 of every other member
    model.onnx      the forest: input `features` [n, f] float32, output `probabilities` [n, 3] float32
    products.npz    the product table
    baseline.json   distributions of features and predictions at training time (drift reference)
    metrics.json    accuracy and macro F1 on the validation split

The bundle's digest is the SHA-256 of manifest.json, which covers every byte of the model. Nothing is unpickled.
"""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnxruntime
from msgspec import Struct
from msgspec.structs import replace

from include.baskets import features
from include.baskets.errors import BundleContentError, BundleDigestError, BundleMembersError, BundleVersionError
from include.baskets.products import ProductTable
from include.baskets.schema import LABEL_OF, LABELS, UNCLASSIFIED, UNCLASSIFIED_CODE, Basket, merge_lines

SCHEMA_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
PRODUCTS: Final = "products.npz"
BASELINE: Final = "baseline.json"
METRICS: Final = "metrics.json"
MEMBERS: Final = (MODEL, PRODUCTS, BASELINE, METRICS)
MODEL_INPUT: Final = "features"
MODEL_OUTPUT: Final = "probabilities"
MAX_MEMBER_BYTES: Final = 512 * 1024 * 1024
DIGITS: Final = 6
"""Probabilities are rounded before a class is chosen, so that all implementations see the same ties."""

_LOW, _MEDIUM, _HIGH = LABELS


class Prediction(Struct, frozen=True):
    """The answer for one basket.

    prediction: one of LABELS, or UNCLASSIFIED when no line is a product that training saw in a labelled basket. In that
    case the probabilities are the class mix of the training data and the confidence is 0. known_lines: number of
    lines with a known product.
    """

    prediction: str
    probability: dict[str, float]
    confidence: float
    known_lines: int


class Scores(NamedTuple):
    """The answers for n baskets.

    features [n, f] float64. probabilities [n, 3] in the order of LABELS. known [n]: number of known lines. classes [n]:
    positions in LABELS, or UNCLASSIFIED_CODE.
    """

    features: np.ndarray
    probabilities: np.ndarray
    known: np.ndarray
    classes: np.ndarray


class Bundle:
    """A loaded, verified model. Several threads may predict with it at the same time."""

    def __init__(
        self, digest: str, model: bytes, table: ProductTable, baseline: dict[str, Any], metrics: dict[str, Any]
    ):
        """Use `load` instead. BundleContentError when the parts do not fit together."""
        self.digest = digest
        self.table = table
        self.baseline = baseline
        self.metrics = metrics
        self._session = _session(model)
        try:
            self._class_mix = {label: round(float(baseline["classes"][label]), DIGITS) for label in LABELS}
        except (KeyError, TypeError, ValueError) as error:
            raise BundleContentError(
                f"{BASELINE} has no class mix (the shares of {', '.join(LABELS)}): train the model again"
            ) from error

    def predict_one(self, basket: Basket) -> Prediction:
        """Predict one basket."""
        return self.predict_few([basket])[0]

    def predict_few(self, baskets: Sequence[Basket]) -> list[Prediction]:
        """Predict a few baskets: features in plain Python, which is faster for few, then one run of the model."""
        computed = [features.compute_one(_merged(basket), self.table) for basket in baskets]
        rows = [values for values, known in computed if known]
        if not rows:
            return [self._unclassified() for _ in computed]
        feed = {MODEL_INPUT: np.array(rows, dtype=np.float32)}
        scored = iter(self._session.run([MODEL_OUTPUT], feed)[0].tolist())
        return [_prediction(next(scored), known) if known else self._unclassified() for _, known in computed]

    def predict_many(self, baskets: Sequence[Basket]) -> list[Prediction]:
        """Predict many baskets: features in numpy. The answers, in order, are those of `predict_one`."""
        if not baskets:
            return []
        scores = self.score(features.columns_of([_merged(basket) for basket in baskets]))
        return [
            _prediction(row, known) if known else self._unclassified()
            for row, known in zip(scores.probabilities.tolist(), scores.known.tolist(), strict=True)
        ]

    def score(self, columns: features.BasketColumns) -> Scores:
        """Score many baskets as arrays, for evaluation and drift. columns: lines merged by product."""
        values, known = features.compute_many(columns, self.table)
        raw = self._session.run([MODEL_OUTPUT], {MODEL_INPUT: values.astype(np.float32)})[0]
        probabilities = np.round(raw.astype(np.float64), DIGITS)
        return Scores(
            values, probabilities, known, np.where(known > 0, probabilities.argmax(axis=1), UNCLASSIFIED_CODE)
        )

    def features_of(self, basket: Basket) -> dict[str, float]:
        """Return a basket's features by name. Monitoring logs them and compares them with `baseline`."""
        return dict(zip(features.FEATURES, features.compute_one(_merged(basket), self.table)[0], strict=True))

    def _unclassified(self) -> Prediction:
        return Prediction(UNCLASSIFIED, dict(self._class_mix), 0.0, 0)


def write(directory: Path, model: bytes, table: ProductTable, baseline: dict[str, Any], metrics: dict[str, Any]) -> str:
    """Write a bundle into an existing, empty folder and return its digest. Equal parts give equal bytes."""
    members = {
        MODEL: model,
        PRODUCTS: table.to_bytes(),
        BASELINE: _json_bytes(baseline),
        METRICS: _json_bytes(metrics),
    }
    for name, data in members.items():
        (directory / name).write_bytes(data)
    manifest = {
        **_expected_head(),
        "members": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    (directory / MANIFEST).write_bytes(_json_bytes(manifest))
    return bundle_digest(directory)


def load(directory: Path, expected_digest: str | None = None) -> Bundle:
    """Verify every byte of a bundle and load it. BundleError when it must not be served.

    expected_digest: the approved digest; a bundle with another one is refused.
    """
    digest = bundle_digest(directory)
    if expected_digest is not None and digest != expected_digest:
        raise BundleDigestError(
            f"{directory / MANIFEST} has digest {digest}, but {expected_digest} was approved: "
            "do not serve it, deploy the approved package again"
        )
    members = _verified_manifest(directory)
    data = {name: _verified(directory / name, members[name]) for name in MEMBERS}
    return Bundle(
        digest,
        data[MODEL],
        ProductTable.from_bytes(data[PRODUCTS]),
        _json_object(data[BASELINE], BASELINE),
        _json_object(data[METRICS], METRICS),
    )


def bundle_digest(directory: Path) -> str:
    """Return the SHA-256 of the bundle's manifest. BundleMembersError when there is none."""
    path = directory / MANIFEST
    if not path.is_file():
        raise BundleMembersError(
            f"{directory} has no {MANIFEST}: it is not a model bundle. Pass the folder of an unpacked model.tar.gz"
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unpack(archive: Path, directory: Path) -> Path:
    """Unpack a model.tar.gz into `directory`, which is created if need be, and return it.

    BundleMembersError for an entry that is no member of a bundle. BundleContentError for an archive that cannot be
    read.
    """
    directory.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for entry in tar:
                name = entry.name.removeprefix("./")
                if entry.isdir() and name in ("", "."):
                    continue
                if name not in (MANIFEST, *MEMBERS) or not entry.isfile() or entry.size > MAX_MEMBER_BYTES:
                    raise BundleMembersError(
                        f"{archive}: {entry.name!r} does not belong in a model bundle: "
                        "use the archive that training wrote"
                    )
                source = tar.extractfile(entry)
                assert source is not None, "isfile() holds"  # noqa: S101
                (directory / name).write_bytes(source.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BundleContentError(f"{archive} cannot be unpacked ({error}): fetch it again, or train again") from error
    return directory


def _verified_manifest(directory: Path) -> dict[str, str]:
    """Return member -> SHA-256. BundleVersionError or BundleMembersError for another manifest or other members."""
    manifest = _json_object((directory / MANIFEST).read_bytes(), MANIFEST)
    for key, expected in _expected_head().items():
        if manifest.get(key) != expected:
            raise BundleVersionError(
                f"{directory / MANIFEST}: {key} is {manifest.get(key)!r}, this code supports {expected!r}: "
                "serve the bundle with the code it was trained with, or train again"
            )
    members = manifest.get("members")
    present = sorted(path.name for path in directory.iterdir() if path.name != MANIFEST)
    if not isinstance(members, dict):
        members = {}
    named = sorted(members)
    if named != sorted(MEMBERS) or present != sorted(MEMBERS):
        raise BundleMembersError(
            f"{directory} holds {', '.join(present) or 'nothing'} and its manifest names "
            f"{', '.join(named) or 'nothing'}; a bundle has exactly {', '.join(MEMBERS)}: "
            "unpack it again into an empty folder"
        )
    return {name: str(members[name]) for name in MEMBERS}


def _verified(path: Path, expected: str) -> bytes:
    """Return a member's bytes. BundleDigestError when they are not the expected ones."""
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != expected:
        raise BundleDigestError(
            f"{path} was changed after training (its SHA-256 differs from the manifest's): fetch the bundle again"
        )
    return data


def _expected_head() -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "labels": list(LABELS),
        "label_map": dict(LABEL_OF),
        "features": list(features.FEATURES),
    }


def _json_bytes(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _json_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise BundleContentError(f"{name} is not JSON ({error}): fetch the bundle again, or train again") from error
    if not isinstance(value, dict):
        raise BundleContentError(f"{name} is not a JSON object: fetch the bundle again, or train again")
    return value


def _session(model: bytes) -> onnxruntime.InferenceSession:
    """Return a session of one thread: a pod has half a CPU, and a forest of this size is faster without a pool."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own that are not public
        raise BundleContentError(f"{MODEL} cannot be loaded ({error}): train the model again") from error
    inputs = [(entry.name, entry.shape[1:]) for entry in session.get_inputs()]
    outputs = [entry.name for entry in session.get_outputs()]
    if inputs != [(MODEL_INPUT, [len(features.FEATURES)])] or MODEL_OUTPUT not in outputs:
        raise BundleContentError(
            f"{MODEL} has inputs {inputs} and outputs {outputs}: it is not this project's model, train again"
        )
    return session


def _merged(basket: Basket) -> Basket:
    lines = merge_lines(basket.lines)
    return basket if lines is basket.lines else replace(basket, lines=lines)


def _prediction(row: list[float], known: int) -> Prediction:
    low = round(row[0], DIGITS)
    medium = round(row[1], DIGITS)
    high = round(row[2], DIGITS)
    confidence = max(low, medium, high)
    label = _LOW if confidence == low else _MEDIUM if confidence == medium else _HIGH
    return Prediction(label, {_LOW: low, _MEDIUM: medium, _HIGH: high}, confidence, known)
