"""The counts of a demo add up, also where labels were refused; a record too few is a fault."""

from headrace.demo.report import Counts

UNITS = {  # an incident in which 1,403 labels were out of range
    "events": 224_910, "accepted": 218_601, "rejected": 7_712, "receipts": 7_712, "feature_vectors": 218_601,
    "predictions": 218_601, "labels": 217_710, "refused_labels": 1_403, "outcomes": 216_307, "unlabelled": 2_294,
}  # fmt: skip


def test_refused_labels_are_no_missing_outcomes():
    assert Counts(**UNITS).faults() == []


def test_what_is_missing_is_told():
    assert Counts(**UNITS | {"refused_labels": 1_402}).faults() == [
        "events + refused_labels = accepted + rejected",
        "labels = outcomes + refused_labels",
    ]
