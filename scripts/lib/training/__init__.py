"""From token files and an encoder to a tested checkpoint."""
