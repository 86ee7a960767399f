"""Commands for those who work on this repository: each writes something that is made from something else."""
