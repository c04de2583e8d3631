"""Files that are whole, known by their digests, and read with care."""
