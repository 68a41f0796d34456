"""All estimators against scikit-learn's own checks, as users get them: without shape checks."""

import subprocess
import sys

import pytest

CHECK = """
import importlib, sys, warnings
from sklearn.utils.estimator_checks import check_estimator
warnings.simplefilter("ignore")
for name in sys.argv[1:]:
    stem, estimator = name.split(":")
    made = getattr(importlib.import_module(f"orrery.systems.manifold.{stem}"), estimator)()
    for result in check_estimator(made, on_fail=None, on_skip=None):
        if result["status"] != "passed":
            print(name, result["status"], result["check_name"], result["exception"])
    print("checked", name)
"""
NAMES = ("pca:PCA", "mds:ClassicalMDS", "isomap:Isomap", "lle:LLE", "tsne:TSNE", "umap:UMAP")


@pytest.mark.slow
def test_every_estimator_keeps_the_rules_of_scikit_learn():
    run = subprocess.run(
        [sys.executable, "-c", CHECK, *NAMES], capture_output=True, text=True, check=True
    )
    needs_a_switch = "skipped check_array_api_input SCIPY_ARRAY_API is not set"
    told = [line for line in run.stdout.splitlines() if needs_a_switch not in line]
    assert told == [f"checked {name}" for name in NAMES]
