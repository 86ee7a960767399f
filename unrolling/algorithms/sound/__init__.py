"""Non-negative factorisation of spectrograms and phase retrieval of sources."""
