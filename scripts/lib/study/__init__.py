"""The study that the configuration asks for: what is run, and what is made from what."""
