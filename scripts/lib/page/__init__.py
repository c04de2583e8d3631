"""From tables to what people read: the summary, its figures, pages of the report."""
