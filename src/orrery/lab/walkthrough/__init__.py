"""Pages that walk through a system: its source with notes, and what its numbers do."""
