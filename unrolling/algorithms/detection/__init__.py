"""Detection of symbols over multi-antenna channels and channels with memory."""
