#!/usr/bin/env python3
"""Holds the code to one word for one thing: names that were given up for the field's terms do not come back.

What is seen are identifiers of Rust outside of comments and strings, in a folder and below.

    hack/names.py

Exits with 1 where one is found.
"""

import pathlib
import sys

from circles import TOKEN

# By folder: the name that was given up, and the one in its place.
NAMES = {
    "ecr-forecast/src": {
        "Court": "PullEvaluator",
        "Hearing": "RequestEvaluation",
        "Trial": "RepositoryEvaluation",
        "Ask": "RequiredRequest",
        "Who": "PullerIdentity",
        "Ruling": "AdmissionDecision",
        "Speaker": "WorstCandidate",
        "Almost": "MisspeltAnnotation",
        "Workbench": "FixSearch",
        "Held": "EditablePolicy",
        "asks": "requests",
        "held": "editable, or what it is",
        "readings": "worlds",
        "ruling": "admission_decision",
        "who": "principal",
    },
    "iam-verdict/src/exact": {
        "readings": "worlds",
        "fillings": "assignments",
        "witnesses": "representatives",
        "Together": "Joint",
        "MAX_READINGS": "MAX_WORLDS",
        "MAX_FILLINGS": "MAX_ASSIGNMENTS",
    },
    "src/index": {
        "Held": "TrackedObject",
        "HeldMap": "ObjectMap",
        "Population": "ClusterWorkloads",
        "held": "tracked",
        "population": "cluster_workloads",
        "patience": "timeouts",
    },
    "src/controller": {
        "Survey": "BackgroundScan",
        "Tally": "PolicyCounts",
        "Outlook": "ExpectedOutcome",
        "Turning": "UpcomingChanges",
        "Tidings": "PendingEvents",
        "News": "EventDraft",
        "Told": "EventOutcome",
        "survey": "scan",
        "tally": "counts",
        "outlook": "expected",
        "turning": "upcoming_changes",
        "turn": "upcoming_change",
        "tidings": "pending",
        "population": "cluster_workloads",
        "held": "tracked",
    },
    "src/webhook": {
        "Question": "ReviewInput",
        "Fresh": "FreshRead",
        "News": "FreshReads",
        "Knowledge": "ReviewInventory",
        "SharedReads": "SingleFlight",
        "Turned": "Rejection",
        "Work": "CpuPermit",
        "Keeper": "CertificateManager",
        "Material": "CertificateSecret",
        "Serving": "CertResolver",
        "Why": "RotationReason",
        "Claims": "PolicyChecks",
        "claim": "check",
        "claims": "checks",
        "door": "entered_strangers",
        "keeper": "manager",
        "knowledge": "review_inventory",
        "material": "secret",
        "news": "what was read",
        "patience": "longest_wait",
    },
    "src/runtime": {"Patience": "Timeouts", "patience": "timeouts"},
}


def found(text, names):
    """The names of `names` that a source has, each with its line."""
    for match in TOKEN.finditer(text):
        if match["word"] in names:
            yield text.count("\n", 0, match.start()) + 1, match["word"]


def main():
    """Looks into every folder."""
    root = pathlib.Path(__file__).resolve().parent.parent
    wrong = 0
    for folder, names in NAMES.items():
        for path in sorted((root / folder).rglob("*.rs")):
            for line, name in found(path.read_text(), names):
                wrong += 1
                print(f"{path.relative_to(root)}:{line}: `{name}` is `{names[name]}` now")
    assert list(found('fn f(a: Ask) {} // Ask\nconst A: &str = "Ask";', {"Ask": ""})) == [(1, "Ask")]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
