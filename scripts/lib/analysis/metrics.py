"""The metric of a study, as a value per test review whose mean is the metric.

Of accuracy, the value is whether a review is labelled right. Balanced accuracy and macro F1 are no
means over reviews but functions of totals over them. Each stands here for its linearisation: a
review has the metric, plus its influence: n times the derivative of the metric by the weight of the
review (Deville 1999, Survey Methodology 25). Influences sum to 0, so that the mean of the values is
the metric, and their variance over n estimates that of the metric. So values take the place of
answers that are right or wrong, over seeds and in groups too.
"""

import numpy as np

from lib.study.metrics import ACCURACY, MACRO_F1


def values_of(label: np.ndarray, prediction: np.ndarray, metric: str) -> np.ndarray:
    """`(n,)` values whose mean is the metric: of accuracy booleans, else numbers.

    The mean of right answers, each times how rare its class is, is balanced accuracy as well. Such
    answers differ from class to class even where all classes are labelled equally well, though the
    number of reviews of a class has no part in its recall: their variance is too large.

    Args:
        label: `(n,)` true classes.
        prediction: `(n,)` predicted classes; one that is never predicted has an F1 of 0.
        metric: its key.
    """
    right = label == prediction
    if metric == ACCURACY:
        return right
    classes = 1 + int(max(label.max(), prediction.max()))
    earned, sizes = right.astype(float), np.bincount(label, minlength=classes)
    if metric == MACRO_F1:
        earned, sizes = 2 * earned, sizes + np.bincount(prediction, minlength=classes)
    found, sizes = np.count_nonzero(sizes), np.maximum(sizes, 1)
    scores = np.bincount(label, earned, classes) / sizes  # recalls, or F1
    weights = len(label) / found / sizes
    values = scores.sum() / found + weights[label] * (earned - scores[label])
    return values - (weights * scores)[prediction] if metric == MACRO_F1 else values
