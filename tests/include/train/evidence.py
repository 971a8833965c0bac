"""The evidence of a good model, to be changed by tests."""

from typing import Any

from include.train.evidence import Evaluation

_GROUP = {"group": "all", "baskets": 100, "accuracy": 0.98, "macro_f1": 0.97}


def evaluation(**changes: Any) -> Evaluation:
    """Evidence that passes the gate, with some fields replaced."""
    score = {"precision": 0.98, "recall": 0.97, "f1": 0.975, "baskets": 100}
    return Evaluation.model_validate(
        {
            "bundle_digest": "b" * 64,
            "gold_digest": "c" * 64,
            "weeks": ["200607", "200609"],
            "hyperparameters": {"trees": 30},
            "baskets": 300,
            "accuracy": 0.98,
            "accuracy_interval": (0.96, 0.99),
            "macro_f1": 0.97,
            "macro_f1_interval": (0.95, 0.98),
            "per_class": dict.fromkeys(("Low", "Medium", "High"), score),
            "confusion": {
                name: {answer: 100 * (answer == name) for answer in ("Low", "Medium", "High", "Unclassified")}
                for name in ("Low", "Medium", "High")
            },
            "calibration": [{"low": 0.9, "high": 1.0, "baskets": 300, "confidence": 0.97, "accuracy": 0.98}],
            "calibration_error": 0.01,
            "by_lines": [_GROUP],
            "by_store_format": [_GROUP],
            "ladder": {
                "majority": (0.6, 0.25),
                "aggregates": (0.62, 0.4),
                "product_groups": (0.7, 0.6),
                "full": (0.98, 0.97),
            },
            "control": {"accuracy": 0.61, "macro_f1": 0.25, "majority": 0.62},
            "champion": None,
            "later_weeks": None,
            "leaks": {"customers_in_two_splits": 0, "fingerprints_in_two_splits": 0, "clones": 2},
            "counts": {"test": {"Low": 100, "Medium": 100, "High": 100, "Unclassified": 5}},
            "products": 90,
            "cuts": (-0.18, 0.226),
        }
        | changes
    )


def champion(accuracy: tuple[float, float] = (-0.01, 0.01), macro_f1: tuple[float, float] = (-0.01, 0.01)) -> dict:
    """A comparison with a champion whose paired intervals are these."""
    return {
        "comparable": True,
        "note": "scored on the same 300 test baskets",
        "bundle_digest": "d" * 64,
        "accuracy": 0.98,
        "macro_f1": 0.97,
        "accuracy_difference": sum(accuracy) / 2,
        "accuracy_difference_interval": accuracy,
        "macro_f1_difference": sum(macro_f1) / 2,
        "macro_f1_difference_interval": macro_f1,
    }
