"""Detection of symbols."""
