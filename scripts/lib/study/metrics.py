"""The metrics that a study may be in."""

from lib.command.formats import measures_named

ACCURACY, BALANCED_ACCURACY, MACRO_F1 = "accuracy", "balanced_accuracy", "macro_f1"
# key -> name in a sentence
METRICS = {key: measures_named([key]) for key in (ACCURACY, BALANCED_ACCURACY, MACRO_F1)}
