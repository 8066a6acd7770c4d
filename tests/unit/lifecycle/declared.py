"""Small detectors and data that the lifecycle's tests share."""

import copy

import numpy as np
import pandas as pd

from lifecycle.datasets.declarations import parse_detector

PLAIN = {
    "name": "logins",
    "source": {
        "format": "csv",
        "columns": {"user": "string", "method": "string", "failures": "int", "seconds": "float", "verdict": "string"},
    },
    "label": {"column": "verdict", "positive": {"equals": ["attack"]}},
    "request_fields": ["method", "failures", "seconds"],
    "model": {"trees": 10, "parameters": {"num_leaves": 7, "min_data_in_leaf": 5}},
    "split": {"by": "rows"},
    "operating_points": {
        "breach_response": {"require": "recall >= 0.98"},
        "siem_alerting": {"require": "f1 >= 0.85"},
        "executive_dashboard": {"require": "precision >= 0.95"},
    },
    "segments": ["method"],
}


def body(**changes):
    made = copy.deepcopy(PLAIN)
    for path, value in changes.items():
        *way, last = path.split("__")
        at = made
        for step in way:
            at = at[step]
        at[last] = value
    return made


def detector(**changes):
    return parse_detector(body(**changes), where="test")


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    attack = rng.random(n) < 0.3
    return pd.DataFrame(
        {
            "user": [f"u{i % 40}" for i in range(n)],
            "method": np.where(attack & (rng.random(n) < 0.8), "password", rng.choice(["password", "token", "key"], n)),
            "failures": rng.poisson(np.where(attack, 6, 1)),
            "seconds": rng.gamma(2, np.where(attack, 0.5, 3)),
            "verdict": np.where(attack, "attack", "fine"),
        }
    )
