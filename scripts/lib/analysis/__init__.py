"""From the predictions of all runs to tables."""
