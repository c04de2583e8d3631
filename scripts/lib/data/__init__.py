"""From sources of reviews and encoders to token files."""
