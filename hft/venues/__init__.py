"""The venues: protocols in both directions, no decisions."""
